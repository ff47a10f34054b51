package interp

// sysState is what the system instructions and event delivery keep between instructions
// besides the architectural state.
type sysState struct {
	// trapDB holds the DR6 bits of a debug trap to be delivered before the
	// next instruction.
	trapDB uint64
	// lateTF: the present instruction is single-stepped by the TF that it
	// leaves behind instead of the one it found (INT n, SYSCALL, SYSRET).
	lateTF bool
	// ext is the EXT bit of error codes while an event is being delivered.
	ext uint32
	// switched: the present instruction has switched tasks.
	switched bool
	// logged has the MSRs about which something has been logged.
	logged map[uint32]bool
}
