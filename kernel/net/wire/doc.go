// Package wire reads and writes the headers of Ethernet (IEEE 802.3), ARP (RFC 826), IPv4 (RFC 791) and ICMP (RFC 792). What it reads comes
// from anybody: every length is checked.
package wire
