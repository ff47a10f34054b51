package pc64

// In assembly.
func entry()
func start()
func leave()
func resume()
func syscallEntry()
func vectors()
func vectored()
func sigReturn()
func addresses(p *[4]uint64)
func loadTables(gdt, idt, tss uint64)
func setCR3(v uint64)
func getCR3() uint64
func getCR2() uint64
func getCR4() uint64
func setCR4(v uint64)
func invlpg(va uint64)
func pause()
func halt()
func in8(port uint16) uint8
func out8(port uint16, v uint8)
func in16(port uint16) uint16
func out16(port, v uint16)
func in32(port uint16) uint32
func out32(port uint16, v uint32)
func rdtsc() uint64
func rdmsr(msr uint32) uint64
func wrmsr(msr uint32, v uint64)
func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)
func zero(p, n uint64)
func framePointer() uint64
func kcall(nr, a, b, c uint64) (ret uint64, err bool)

// Where things are in the kernel's address space. Programs have all below 2^46.
const (
	heapBase   = 0x7e0000000000 // the Go runtime's memory
	heapEnd    = 0x7e8000000000
	staticBase = 0x7e8000000000 // contexts, then device memory beyond the direct map
	areaBase   = 0x7ec000000000 // the areas of the processors but the first
	directMap  = 0x7f0000000000
	window     = 0x7f8000000000 // the image
	windowPhys = 0x200000
	stubBase   = 0x100000
	pageSize   = 4096
)

// MaxCPUs is how many processors the kernel uses.
const MaxCPUs = 256
