// Package disk is the disk layer: drivers announce disks with Create, the layer finds out how they are divided,
// gives whole disks, slices and partitions names, and passes requests for blocks down to the driver. A request is a
// message, and its completion the reply.
package disk
