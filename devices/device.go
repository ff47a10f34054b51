package devices

// Device is what every device model has.
type Device interface {
	// Name is the device's unit name, as "uart0" or "virtio-blk1".
	Name() string
	// Reset puts the device into its power-on state. Back ends stay.
	Reset()
}

// Pauser is a device with activity of its own (goroutines, requests in
// flight) that must stand still while the machine is paused. Pause returns
// when nothing of the device touches guest memory any more.
type Pauser interface {
	Pause()
	Resume()
}

// Closer is a device that owns host resources. Close is called once, after
// the CPUs have stopped; it leaves no goroutine behind.
type Closer interface {
	Close() error
}

// Saver is a device whose state can be saved and restored. The encoding is the
// device's own and versioned by it. Both are called only while paused.
type Saver interface {
	SaveState() ([]byte, error)
	RestoreState(p []byte) error
}
