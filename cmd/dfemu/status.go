package main

import "dfemu/machine"

// Exit statuses. Those that the guest chooses through isa-debug-exit are odd;
// all others but 0 are even.
const (
	statusUsage    = 2   // bad usage: flags, missing or unusable files
	statusHost     = 4   // the host failed
	statusPanic    = 6   // the guest panicked
	statusTriple   = 8   // triple fault, with --no-reboot
	statusRebooted = 10  // the guest asked for a reset, with --no-reboot
	statusStopped  = 12  // stopped by the user: Ctrl-A x, a signal
	statusBreach   = 14  // a driver broke a specification, with --strict=stop
	statusTimeout  = 124 // --timeout passed, as timeout(1) says it
)

// statusHelp is the table for people.
const statusHelp = `Exit status:
  0    the guest powered itself off
  odd  the guest wrote V to isa-debug-exit (port 0xf4): V<<1|1
  2    bad usage               8    triple fault (with --no-reboot)
  4    the host failed         10   the guest reset itself (with --no-reboot)
  6    the guest panicked      12   stopped by Ctrl-A x or a signal
  14   a driver broke a specification (with --strict=stop)
  124  --timeout passed`

// outcomeError carries an exit status through the command tree.
type outcomeError struct {
	status  int
	message string
}

func (e outcomeError) Error() string { return e.message }

// outcome turns how a machine ended into an error, nil for success.
func outcome(o machine.Outcome) error {
	switch o.Cause {
	case machine.PoweredOff:
		return nil
	case machine.GuestExit:
		return outcomeError{status: o.Code & 0xff}
	case machine.Panicked:
		return outcomeError{statusPanic, "the guest panicked: " + o.Detail}
	case machine.TripleFault:
		return outcomeError{statusTriple, "triple fault on " + o.Detail}
	case machine.Rebooted:
		return outcomeError{statusRebooted, "the guest asked for a reset"}
	case machine.Breach:
		return outcomeError{statusBreach, "a driver broke a specification: " + o.Detail}
	case machine.TimedOut:
		return outcomeError{statusTimeout, "the guest did not finish in the time of --timeout"}
	}
	return outcomeError{status: statusStopped}
}
