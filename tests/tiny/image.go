package tiny

import "encoding/binary"

// ELF is a 64-bit ELF file, loaded and entered at 1 MiB in long mode, that
// switches itself off.
func ELF() []byte {
	const base = 1 << 20
	le := binary.LittleEndian
	p := make([]byte, 64+56)
	copy(p, "\x7fELF\x02\x01\x01")
	le.PutUint16(p[16:], 2)  // ET_EXEC
	le.PutUint16(p[18:], 62) // EM_X86_64
	le.PutUint64(p[24:], base)
	le.PutUint64(p[32:], 64)
	le.PutUint16(p[54:], 56)
	le.PutUint16(p[56:], 1)
	ph := p[64:]
	le.PutUint32(ph, 1) // PT_LOAD
	le.PutUint64(ph[8:], uint64(len(p)))
	le.PutUint64(ph[16:], base)
	le.PutUint64(ph[24:], base)
	code := []byte{
		0xfa,                                         // cli
		0x66, 0xba, byte(pm1 & 0xff), byte(pm1 >> 8), // mov dx, pm1
		0x66, 0xb8, 0, byte(sleepS5 >> 8), // mov ax, sleepS5
		0x66, 0xef, // out dx, ax
	}
	code = append(code, stop...)
	le.PutUint64(ph[32:], uint64(len(code)))
	le.PutUint64(ph[40:], 64)
	return append(p, code...)
}

// BzImage is a Linux image whose setup header is sound: boot protocol 2.15,
// relocatable, with a protected-mode kernel that halts, and a payload that is
// no archive.
func BzImage() []byte {
	const setup = 1024
	le := binary.LittleEndian
	p := make([]byte, setup+0xc00)
	copy(p[0x1fe:], "\x55\xaa")
	p[0x1f1] = 1                            // setup_sects
	le.PutUint32(p[0x1f4:], 0xc00>>4)       // syssize
	copy(p[0x200:], "\xeb\x66HdrS\x0f\x02") // version 2.15
	p[0x211] = 1                            // loadflags: LOADED_HIGH
	le.PutUint32(p[0x214:], 1<<20)          // code32_start
	le.PutUint32(p[0x22c:], 1<<31-1)        // initrd_addr_max
	le.PutUint32(p[0x230:], 1<<20)          // kernel_alignment
	p[0x234] = 1                            // relocatable_kernel
	le.PutUint32(p[0x238:], 255)            // cmdline_size
	le.PutUint32(p[0x248:], 0x100)          // payload_offset
	le.PutUint32(p[0x24c:], 0x100)          // payload_length
	le.PutUint64(p[0x258:], 1<<20)          // pref_address
	le.PutUint32(p[0x260:], 1<<20)          // init_size
	copy(p[setup:], append([]byte{0xfa}, stop...))
	return p
}
