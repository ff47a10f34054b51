// Package watch is for the person who debugs a driver: it traces what a
// machine's devices do, checks drivers against the specifications, and makes
// things go wrong on purpose. Devices report to and ask one [devices.Probe];
// a [Watcher] attaches to the probes of a machine.
//
// A reader starts at Watcher (watcher.go). event.go is what is reported, trace.go,
// json.go and perfetto.go write traces, strict.go
// judges drivers, fault.go and faultspec.go inject faults.
package watch
