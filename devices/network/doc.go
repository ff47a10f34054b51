// Package network is the host's side of network devices: back ends that
// implement [devices.Network].
//
//   - tap: a tap interface of the Linux host, with several queues and all offloads;
//   - user: a network behind NAT that needs no privileges, made by a TCP/IP stack in this process;
//   - hub: an Ethernet that joins machines of this process, and through sockets those of others.
//
// All of them take every offload: what the far side cannot take is segmented and
// summed in software here. [Open] makes a back end of [Options], which
// [ParseNIC] reads from a command line.
//
// Frames from a guest are hostile input: sizes and positions are checked on a
// copy before they are used, and what makes no sense is dropped.
package network
