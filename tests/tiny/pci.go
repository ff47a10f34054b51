package tiny

// out32 writes a value to a port, in32 reads one.
func out32(port uint16, v uint32) []byte {
	return []byte{0xba, byte(port), byte(port >> 8), 0x66, 0xb8, byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24), 0x66, 0xef}
}

func in32(port uint16) []byte { return []byte{0xba, byte(port), byte(port >> 8), 0x66, 0xed} }

// Ports of PCI configuration space.
const (
	configAddress = 0xcf8
	configData    = 0xcfc
)

// Window misuses the configuration access capability, at offset at in configuration space, of the virtio device
// in a slot of bus 0: it asks for 3 bytes. Then it ends with a status.
func Window(slot, at, status uint8) []byte {
	address := func(off uint8) []byte { return out32(configAddress, 1<<31|uint32(slot)<<11|uint32(at+off)) }
	return image(program(
		address(4), out32(configData, 4), // BAR 4
		address(8), out32(configData, 0),
		address(12), out32(configData, 3),
		address(16), in32(configData),
		out8(exit, status)), nil)
}
