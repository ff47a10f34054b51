// Package chipset gathers the legacy devices of a PC with an ICH9. Each has a
// package of its own below this one; none knows of another, or where it is
// mapped. The machine connects them:
//
//	package    ports                 memory      interrupts
//	pic        20 21 A0 A1 4D0 4D1               INTR to the boot CPU
//	pit        40-43 61                          IRQ 0, through hpet
//	ioapic                           FEC00000    messages to the local APICs
//	hpet                             FED00000    takes IRQ 0 and 8 from pit and rtc
//	rtc        70-73                             IRQ 8, through hpet
//	pm         PMBASE+0..7F B2 B3                SCI, GSI 9
//	reset      CF9 92                            reset, INIT, A20
//	i8042      60 64                             IRQ 1, IRQ 12
//	uart       3F8 2F8 3E8 2E8                   IRQ 4, IRQ 3
//	dma8237    00-0F 81-8F C0-DF
//	debugport  80 E9 402 ED 501
//	pvpanic    505
//	fwcfg      510-51B
//
// A GSI below 16 goes to the PIC and to the I/O APIC, except that IRQ 0 is the
// I/O APIC's pin 2. Lines that several devices share are joined by the machine.
//
// Saved state is restored after the machine's clock.
package chipset
