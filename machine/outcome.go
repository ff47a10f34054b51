package machine

import "fmt"

// Cause says why a machine stopped.
type Cause uint8

// The causes.
const (
	PoweredOff  Cause = iota // the guest switched itself off
	GuestExit                // the guest wrote a code to isa-debug-exit
	Panicked                 // the guest panicked (pvpanic, or a panic message on its console)
	TripleFault              // a processor shut down and no restart was wanted
	Rebooted                 // the guest asked for a reset and no restart was wanted
	TimedOut                 // the time given to Run was over
	Stopped                  // the user stopped the machine
	Breach                   // a driver broke a specification, and Watch.Stopped was set
)

// String names the cause.
func (c Cause) String() string {
	names := [...]string{"powered off", "guest exit code", "guest panic", "triple fault", "guest reset", "timed out", "stopped", "breach of a specification"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("cause %d", uint8(c))
}

// Outcome is how a run of a machine ended.
type Outcome struct {
	Cause Cause
	// Code is the guest's exit status for GuestExit.
	Code int
	// Detail says more where there is more: the panic message, the breach.
	Detail string
}
