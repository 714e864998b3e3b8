// Package config reads tollgate's TOML file into typed, checked settings.
//
// [Load] reads a file, or gives the defaults where there is none; [Check] does
// the same and sums up what was understood. Everything in the file is checked
// at once: the error is an [*Error] that lists every [Problem] with its file
// and line, so that a person mends a file in one go. A [Config] that was
// returned without an error is complete: every value has its default, every
// reference (upstream of a route, default plan, pack of a recharge) leads
// somewhere, no two routes overlap, and each meter that has a price, a quota
// or burns credits is measured by some route.
//
// # How positions are found
//
// The TOML library decides what is valid and what a value is, but forgets
// where it stood. So a small scanner of this package (scan.go) walks the same
// source for the positions of its keys only, and the two are joined into one
// tree of nodes (tree.go) from which the settings are decoded (decode.go). The
// structs of the settings, with their `toml` tags, are the one list of known
// keys: decoding, the suggestions for a mistyped key and the test that keeps
// config.example.toml complete all read it.
//
// # Invariants
//
//   - Reading the configuration changes nothing: no file is made, no address
//     is opened. It may be repeated at any time, as SIGHUP does.
//   - Secrets come from the environment, from files named by `*_file` keys, or
//     from systemd credentials. One that stands in the file is an error, and
//     that error does not repeat it. A [Secret] does not print.
//   - Money is [ledger.Amount], from decimal strings. No float touches it.
//   - Relative paths in a file are relative to the folder that the file is in;
//     those of what tollgate makes (ledger, socket, snapshots) to the state
//     folder where the service manager gives one.
//   - The package has no state of its own; a Config is not changed by it after
//     it was returned.
package config
