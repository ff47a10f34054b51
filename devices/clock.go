package devices

import "time"

// A Clock is the machine's time. It starts at 0 when the machine is powered
// on, counts nanoseconds, and stands still while the machine is paused.
// All methods may be called from any goroutine.
type Clock interface {
	// Now returns the nanoseconds since power-on.
	Now() int64
	// Wall returns the date and time that the guest should see now.
	Wall() time.Time
	// NewTimer returns a stopped timer that calls f, on a goroutine of the
	// clock's choosing, each time it expires.
	NewTimer(f func()) Timer
}

// A Timer calls its function once each time the instant it is set to arrives.
// f may run concurrently with Set and Stop: a device checks, under its own
// lock, that the event it was woken for is still due.
type Timer interface {
	// Set (re)arms the timer for the clock's time at, in nanoseconds. A time
	// that has passed expires at once (never from inside Set).
	Set(at int64)
	// Stop disarms the timer.
	Stop()
}
