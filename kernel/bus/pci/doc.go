// Package pci finds the functions on the PCI buses and gives drivers their configuration space,
// registers and interrupts. Configuration space is accessed in memory (ECAM, PCI Express
// Base Specification section 7.2.2).
package pci
