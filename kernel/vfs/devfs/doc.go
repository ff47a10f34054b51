// Package devfs is the file system of devices. One thread makes all changes, in the order in which they are asked
// for by messages; every mount shows the same devices, as its rules allow. Devices have aliases, vanish while they are
// open, and can be cloned: to open one of those makes a device of its own for who opens it.
package devfs
