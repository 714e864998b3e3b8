package quiet

import "syscall"

const name = "CI"

// ours tells that the environment had no such name before.
var ours = set()

func set() bool {
	if value, _ := syscall.Getenv(name); value != "" {
		return false
	}
	return syscall.Setenv(name, "true") == nil
}

// Restore gives the environment back as it was found; it tells whether there was
// anything to do. A package that imports bubbletea calls it when it is initialized
// itself.
func Restore() bool {
	return ours && syscall.Unsetenv(name) == nil
}
