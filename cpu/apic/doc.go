// Package apic is the local APICs of all processors of a machine, in software
// (Intel SDM vol. 3, chapter 11, "Advanced Programmable Interrupt Controller").
//
// A [Fabric] is what connects them: it takes message-signalled interrupts,
// interprocessor interrupts, the 8259 pair's output and the NMI line, and finds
// the APICs that a message is for. An [APIC] belongs to one processor.
//
// # Concurrency
//
// The methods of Fabric may be called from any goroutine. The methods of APIC
// may be called only by the goroutine that runs its processor (or while that
// processor is stopped), except those that say otherwise. No method blocks on
// another processor: whatever a sender needs of a target is atomic, and posting
// an interrupt is an atomic OR into the target's IRR, followed by a call of
// [Config].Notify where the target may have something new to do. What the
// sender wrote to memory before it posted is visible to the target after
// [APIC.Pending] has returned the vector.
//
// # What a processor does with it
//
// Notify leaves a mark that the processor looks at between instructions or
// blocks. It clears the mark first, and then asks [APIC.ExtINT] and
// [APIC.Pending]; as long as one of them holds and interrupts are off, it asks
// again when they are turned on. An interrupt taken is confirmed with
// [APIC.Accept] or [APIC.AcceptExtINT]. A mark may turn out to be for nothing.
package apic
