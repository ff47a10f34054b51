package nvme

// A bell wakes the goroutine of one queue. rings are counted at most once until
// the next wait; ring never blocks.
type bell interface {
	ring()
	wait()
	close()
}

// channelBell is a bell made of a channel. It costs little, but a goroutine made
// ready by one that goes on computing (a virtual CPU) may start late.
type channelBell chan struct{}

func newChannelBell() bell { return make(channelBell, 1) }

func (c channelBell) ring() {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (c channelBell) wait()  { <-c }
func (c channelBell) close() {}
