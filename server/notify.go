package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd how the service is, where systemd runs it; elsewhere
// it does nothing.
type notifier struct{ log *slog.Logger }

func (n notifier) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("systemd was not told how tollgate is", "state", state, "error", err)
	}
}

func (n notifier) ready()     { n.tell(daemon.SdNotifyReady) }
func (n notifier) reloading() { n.tell(daemon.SdNotifyReloading) }

// stopping asks for time: what the drain may take, and for the ledger to close.
func (n notifier) stopping(drain time.Duration) {
	n.tell(daemon.SdNotifyStopping + "\n" + extend(drain+30*time.Second))
}

// starting asks for more time while the ledger is opened.
func (n notifier) starting(what string, done, total uint64) {
	n.tell(fmt.Sprintf("STATUS=%s: %d of %d\n%s", what, done, total, extend(2*time.Minute)))
}

func extend(by time.Duration) string {
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", by.Microseconds())
}

// watch keeps systemd's watchdog quiet until ctx ends. A process that hangs
// stops telling and is restarted.
func (n notifier) watch(ctx context.Context) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("systemd's watchdog cannot be served", "error", err)
	}
	if err != nil || every == 0 {
		return
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.tell(daemon.SdNotifyWatchdog)
		}
	}
}
