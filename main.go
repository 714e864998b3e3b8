// Command tollgate puts metering, limits and billing in front of an HTTP API.
package main

import (
	"os"
	_ "time/tzdata" // billing time zones work where the machine has no zone files

	"tollgate/server/cli"
)

func main() { os.Exit(cli.Run()) }
