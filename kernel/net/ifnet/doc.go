// Package ifnet is where drivers of network devices and what speaks protocols meet: interfaces with their
// addresses, link, counters, and frames in both directions.
package ifnet
