// Package proc gives processes, process groups and sessions their ids, and finds them by these. An id belongs to one of 256 buckets, each with a token of
// its own: whoever makes, finds or reaps a process takes no lock that all share. The ids of what has gone are not given again for some time.
package proc
