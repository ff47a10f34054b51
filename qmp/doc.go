// Package qmp is the control socket of a running machine: JSON lines in the
// manner of QEMU's Machine Protocol, so that the tools written for that work,
// with its greeting, its capabilities negotiation, its commonest commands and events, and commands
// of this monitor (x-fault-add and others) besides.
//
// A reader starts at Server (server.go); commands.go is the table of commands, client.go the other end.
package qmp
