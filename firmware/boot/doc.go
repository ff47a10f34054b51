// Package boot puts an operating system into guest memory without the help of
// firmware, and says in what state the processor must enter it.
//
// [Detect] tells what an image is, and [Load] writes it, and all that its boot
// protocol wants beside it, through a [Memory]. The result is an [Entry]: plain
// register values. Images may come from anywhere: every field is checked, and
// no allocation is larger than the image, the memory map or the [Options]
// allow.
//
// Protocols: Linux bzImage (Documentation/arch/x86/boot.rst, up to 2.15),
// Xen's PVH, Multiboot 1 and 2, plain ELF and flat binaries. [LoadFlash] is for
// machines that do start with firmware.
//
// The first 640 KiB are used as follows. What an image brings must not lie
// there, flat images excepted.
//
//	0x00500  GDT
//	0x07000  boot_params ("zero page") of Linux
//	0x08ff0  initial stack, growing down
//	0x09000  page tables: 4 KiB PML4, 4 KiB PDPT, page directories
//	0x50000  command line
//	0x60000  setup_data, start info and Multiboot information
//	0x90000  end
package boot
