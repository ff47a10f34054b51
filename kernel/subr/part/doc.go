// Package part reads partition tables: GPT, MBR with extended partitions, and
// DragonFly's disklabel64. What it reads may be damaged or hostile: no table makes
// it read outside the disk, run on, or return a partition that does not fit.
package part
