// Package tiny has guests of a sector: real-mode programs for tests of the
// monitor that need a guest, but no operating system. An image is started as a
// kernel (machine.Config.Kernel) and is loaded at 0x7C00 as a boot sector is.
package tiny

// origin is where images are loaded.
const origin = 0x7c00

// Ports that the programs use.
const (
	com1    = 0x3f8
	com1LSR = 0x3fd
	exit    = 0xf4
	pm1     = 0x604 // PM1a_CNT, as machines without firmware have it
	pvpanic = 0x505
	reset   = 0xcf9
)

// image pads code to a boot sector, and puts data behind it.
func image(code, data []byte) []byte {
	p := make([]byte, 512, 512+len(data))
	copy(p, code)
	p[510], p[511] = 0x55, 0xaa
	return append(p, data...)
}

// prologue sets up the data segments and forbids interrupts.
var prologue = []byte{
	0xfa,       // cli
	0x31, 0xc0, // xor ax, ax
	0x8e, 0xd8, // mov ds, ax
	0x8e, 0xd0, // mov ss, ax
	0xbc, 0x00, 0x7c, // mov sp, 0x7c00
	0xfc, // cld
}

// stop halts for good.
var stop = []byte{
	0xf4,       // hlt
	0xeb, 0xfd, // jmp back to it
}

func program(parts ...[]byte) []byte {
	p := append([]byte{}, prologue...)
	for _, part := range parts {
		p = append(p, part...)
	}
	return append(p, stop...)
}

// out8 and out16 write a value to a port.
func out8(port uint16, v uint8) []byte {
	return []byte{0xba, byte(port), byte(port >> 8), 0xb0, v, 0xee}
}

func out16(port, v uint16) []byte {
	return []byte{0xba, byte(port), byte(port >> 8), 0xb8, byte(v), byte(v >> 8), 0xef}
}

// sleepS5 in PM1a_CNT switches off: SLP_EN, and the SLP_TYP of S5.
const sleepS5 = 1<<13 | 7<<10

// print sends the zero-terminated text behind the sector to COM1.
var print = []byte{
	0xbe, 0x00, 0x7e, // mov si, origin+512
	0xac,       // next: lodsb
	0x84, 0xc0, // test al, al
	0x74, 0x06, // jz done
	0xba, byte(com1 & 0xff), byte(com1 >> 8), // mov dx, com1
	0xee,       // out dx, al
	0xeb, 0xf5, // jmp next
}

// PowerOff switches itself off.
func PowerOff() []byte { return image(program(out16(pm1, sleepS5)), nil) }

// Exit leaves through isa-debug-exit with a value.
func Exit(v uint8) []byte { return image(program(out8(exit, v)), nil) }

// Panic reports a panic through pvpanic.
func Panic() []byte { return image(program(out8(pvpanic, 1)), nil) }

// Reset resets the machine by port 0xCF9.
func Reset() []byte { return image(program(out8(reset, 6)), nil) }

// TripleFault makes the processor shut down: an exception with an empty
// interrupt table.
func TripleFault() []byte {
	code := append([]byte{}, prologue...)
	table := uint16(origin + len(code) + 6)
	code = append(code, 0x0f, 0x01, 0x1e, byte(table), byte(table>>8)) // lidt [table]
	code = append(code, 0xcc)                                          // int3
	return image(append(code, 0, 0, 0, 0, 0, 0), nil)
}

// Hang halts with interrupts off.
func Hang() []byte { return image(program(), nil) }

// Spin runs for ever.
func Spin() []byte { return image([]byte{0xeb, 0xfe}, nil) }

// Run counts to four million and leaves by port 0xf4 with 0.
func Run() []byte {
	return image(program([]byte{
		0x66, 0xb9, 0x00, 0x09, 0x3d, 0x00, // mov ecx, 4000000
		0x66, 0x49, // next: dec ecx
		0x75, 0xfc, // jnz next
	}, out8(exit, 0)), nil)
}

// Print prints a text to COM1 and switches itself off. The text is at most 32
// KiB.
func Print(text string) []byte {
	return image(program(print, out16(pm1, sleepS5)), append([]byte(text), 0))
}

// PrintHang prints a text and halts.
func PrintHang(text string) []byte { return image(program(print), append([]byte(text), 0)) }

// Echo prints "ready" and sends back what it receives at COM1, until it has
// received a q, at which it switches itself off.
func Echo() []byte {
	loop := []byte{
		0xba, byte(com1LSR & 0xff), byte(com1LSR >> 8), // wait: mov dx, com1LSR
		0xec,       // in al, dx
		0xa8, 0x01, // test al, 1
		0x74, 0xf8, // jz wait
		0xba, byte(com1 & 0xff), byte(com1 >> 8), // mov dx, com1
		0xec,      // in al, dx
		0xee,      // out dx, al
		0x3c, 'q', // cmp al, 'q'
		0x75, 0xef, // jne wait
	}
	return image(program(print, loop, out16(pm1, sleepS5)), []byte("ready\r\n\x00"))
}

// CMOS prints n bytes of the RTC's registers from index on to COM1 as they are and
// switches itself off.
func CMOS(index, n uint8) []byte {
	var code []byte
	for i := range n {
		code = append(code,
			0xb0, index+i, // mov al, index
			0xe6, 0x70, // out 0x70, al
			0xe4, 0x71, // in al, 0x71
			0xba, byte(com1&0xff), byte(com1>>8), // mov dx, com1
			0xee, // out dx, al
		)
	}
	return image(program(code, out16(pm1, sleepS5)), nil)
}

// CountResets resets the machine until it has been started limit times, and
// then leaves through isa-debug-exit with that number. It counts in the CMOS
// RAM, which a reset leaves alone.
func CountResets(limit uint8) []byte {
	code := []byte{
		0xb0, 0x50, 0xe6, 0x70, // mov al, 0x50; out 0x70, al
		0xe4, 0x71, // in al, 0x71
		0xfe, 0xc0, // inc al
		0x88, 0xc3, // mov bl, al
		0xb0, 0x50, 0xe6, 0x70, // mov al, 0x50; out 0x70, al
		0x88, 0xd8, // mov al, bl
		0xe6, 0x71, // out 0x71, al
		0x3c, limit, // cmp al, limit
		0x75, 0x02, // jne over
		0xe6, exit, // out 0xf4, al
	}
	return image(program(code, out8(reset, 6)), nil)
}

// LA57 leaves through isa-debug-exit with 1 if the processor announces 5-level
// paging, else with 0.
func LA57() []byte {
	return image(program([]byte{
		0x66, 0xb8, 7, 0, 0, 0, // mov eax, 7
		0x66, 0x31, 0xc9, // xor ecx, ecx
		0x0f, 0xa2, // cpuid
		0x66, 0xc1, 0xe9, 16, // shr ecx, 16
		0x88, 0xc8, // mov al, cl
		0x24, 1, // and al, 1
		0xe6, exit, // out exit, al
	}), nil)
}
