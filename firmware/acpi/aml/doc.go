// Package aml encodes ACPI Machine Language: the byte code of a DSDT or SSDT
// (ACPI Specification 6.4, chapter 20).
//
// A program is a tree of [Term] values made by the functions of this package,
// named as the operators of the ACPI Source Language are, and turned into
// bytes by [Encode]. A malformed name or a value that does not fit its field
// is an error of Encode; nothing here panics. A Term holds no state and may
// be encoded any number of times.
package aml
