// Package acpi builds the ACPI tables of a PC: RSDP, RSDT, XSDT, FADT, FACS,
// MADT, MCFG, HPET and a DSDT that describes a PCI Express host bridge, the
// devices of the ISA bus and the processors (ACPI Specification 6.4).
//
// [Build] turns a [Config], which is plain data, into a set of [Tables]. The
// set is then either placed in guest memory by [Tables.Place], for a guest
// that starts without firmware, or handed to firmware over the fw_cfg device
// as the three files of [Tables.Loader].
//
// Nothing here keeps state, and all functions may be called concurrently.
package acpi
