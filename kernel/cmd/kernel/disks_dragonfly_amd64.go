package main

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/kern/msgport"
	"dfemu/kernel/shell"
	"dfemu/kernel/subr/disk"
)

// diskCommands are the shell's commands for disks.
func diskCommands(k *kern.Kernel, l *disk.Layer) []shell.Command {
	return []shell.Command{
		{Name: "disks", Help: "list disks, slices and partitions", Run: func(w io.Writer, _ []string) error { return listDisks(w, l) }},
		{Name: "md5", Args: "[DEV [OFFSET LENGTH]]", Help: "checksum of a disk or a range of it, or of all disks", Run: func(w io.Writer, args []string) error {
			return sumDisks(w, k, l, args)
		}},
		{Name: "hexdump", Args: "DEV [OFFSET [LENGTH]]", Help: "show bytes of a disk", Run: func(w io.Writer, args []string) error { return dump(w, k, l, args) }},
		{Name: "writetest", Args: "DEV OFFSET LENGTH [SEED]", Help: "write a pattern, read it back, compare", Run: func(w io.Writer, args []string) error {
			return writeTest(w, k, l, args)
		}},
		{Name: "diskbench", Args: "DEV [MILLISECONDS]", Help: "4 KiB reads one and 32 at a time, 1 MiB sequential", Run: func(w io.Writer, args []string) error {
			return bench(w, k, l, args)
		}},
		{Name: "diskstat", Help: "what the disks have done", Run: func(w io.Writer, _ []string) error { return diskStats(w, l) }},
		{Name: "diskevents", Help: "disks that came and went", Run: func(w io.Writer, _ []string) error {
			for _, e := range l.Events() {
				fmt.Fprintln(w, e)
			}
			return nil
		}},
		{Name: "rescan-disk", Args: "[DEV…]", Help: "read partition tables again", Run: func(w io.Writer, args []string) error {
			var unknown error
			for _, name := range args {
				if !slices.ContainsFunc(l.Disks(), func(d *disk.Disk) bool { return d.Info().Name == name }) {
					unknown = errors.Join(unknown, fmt.Errorf("%s: no such disk", name))
				}
			}
			for _, d := range l.Disks() {
				if len(args) == 0 || slices.Contains(args, d.Info().Name) {
					l.Rescan(d)
				}
			}
			l.Sync()
			return unknown
		}},
	}
}

func find(l *disk.Layer, name string) (*disk.Node, error) {
	if n := l.Find(name); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("%s: no such disk, slice or partition", name)
}

// number is a size or an offset: decimal, 0x, or with K, M or G.
func number(s string) (int64, error) {
	shift := 0
	switch {
	case strings.HasSuffix(s, "K"):
		shift = 10
	case strings.HasSuffix(s, "M"):
		shift = 20
	case strings.HasSuffix(s, "G"):
		shift = 30
	}
	if shift > 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%s: not a number of bytes", s)
	}
	return n << shift, nil
}

func listDisks(w io.Writer, l *disk.Layer) error {
	for _, d := range l.Disks() {
		i := d.Info()
		fmt.Fprintf(w, "%s: <%s> serial %s at %s, %s, %d byte sectors, table %s\n", i.Name, i.Model, i.Serial, i.Where,
			disk.Megabytes(int64(i.Sectors)*int64(i.SectorSize)), i.SectorSize, orNone(l.Table(d).Kind))
		for _, n := range l.Nodes(d) {
			fmt.Fprintf(w, "  %-14s %14d %14d  %s %s %s\n", n.Name, n.Start, n.Size, n.Type, n.Label, strings.Join(n.Aliases, " "))
		}
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// sumDisks prints MD5 sums, as md5 does.
func sumDisks(w io.Writer, k *kern.Kernel, l *disk.Layer, args []string) error {
	if len(args) == 0 { // all of them at once
		disks := l.Disks()
		errs, lines := make([]error, len(disks)), make([]bytes.Buffer, len(disks))
		var threads []*kern.Thread
		for i, d := range disks {
			name := d.Info().Name
			threads = append(threads, k.Start(kern.ThreadAttr{Name: "md5 " + name, Priority: kern.Daemon}, func() {
				errs[i] = sumDisks(&lines[i], k, l, []string{name})
			}))
		}
		for i, t := range threads {
			t.Join()
			if _, err := w.Write(lines[i].Bytes()); err != nil {
				return err
			}
		}
		return errors.Join(errs...)
	}
	n, err := find(l, args[0])
	if err != nil {
		return err
	}
	off, size := int64(0), n.Size
	if len(args) > 2 {
		if off, err = number(args[1]); err != nil {
			return err
		}
		if size, err = number(args[2]); err != nil {
			return err
		}
	}
	start := k.Now()
	h := md5.New()
	buf, err := k.Bytes(1 << 20)
	if err != nil {
		return err
	}
	for at := int64(0); at < size; {
		b := buf[:min(int64(len(buf)), size-at)]
		if _, err := n.ReadAt(b, off+at); err != nil {
			return err
		}
		h.Write(b)
		at += int64(len(b))
	}
	took := k.Now() - start
	fmt.Fprintf(w, "MD5 (%s) = %x serial %s, %d bytes in %v\n", n.Name, h.Sum(nil), n.Disk().Info().Serial, size, took.Round(time.Millisecond))
	return nil
}

func dump(w io.Writer, k *kern.Kernel, l *disk.Layer, args []string) error {
	if len(args) == 0 {
		return errors.New("which disk?")
	}
	n, err := find(l, args[0])
	if err != nil {
		return err
	}
	off, size := int64(0), int64(256)
	if len(args) > 1 {
		if off, err = number(args[1]); err != nil {
			return err
		}
	}
	if len(args) > 2 {
		if size, err = number(args[2]); err != nil {
			return err
		}
	}
	b, err := k.Bytes(int(min(size, 1<<16)))
	if err != nil {
		return err
	}
	if _, err := n.ReadAt(b, off); err != nil {
		return err
	}
	hexDump(w, uint64(off), b)
	return nil
}

// hexDump writes bytes in rows of 16.
func hexDump(w io.Writer, at uint64, b []byte) {
	for i := 0; i < len(b); i += 16 {
		row := b[i:min(i+16, len(b))]
		text := make([]byte, len(row))
		for j, c := range row {
			if text[j] = '.'; c >= ' ' && c < 127 {
				text[j] = c
			}
		}
		fmt.Fprintf(w, "%08x  % -47x  |%s|\n", at+uint64(i), row, text)
	}
}

// pattern fills b with what belongs at an offset: each 8 bytes say where they are.
func pattern(b []byte, off int64, seed uint64) {
	for i := 0; i+8 <= len(b); i += 8 {
		v := (uint64(off+int64(i)) ^ seed) * 0x9e3779b97f4a7c15
		binary.LittleEndian.PutUint64(b[i:], v^v>>29)
	}
}

func writeTest(w io.Writer, k *kern.Kernel, l *disk.Layer, args []string) error {
	if len(args) < 3 {
		return errors.New("DEV OFFSET LENGTH are needed")
	}
	n, err := find(l, args[0])
	if err != nil {
		return err
	}
	off, err := number(args[1])
	if err != nil {
		return err
	}
	size, err := number(args[2])
	if err != nil {
		return err
	}
	seed := int64(1)
	if len(args) > 3 {
		if seed, err = number(args[3]); err != nil {
			return err
		}
	}
	const piece = 256 << 10
	both, err := k.Bytes(2 * piece)
	if err != nil {
		return err
	}
	buf, back := both[:piece], both[piece:]
	start := k.Now()
	for at := int64(0); at < size; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), size-at)]
		pattern(b, off+at, uint64(seed))
		if _, err := n.WriteAt(b, off+at); err != nil {
			return err
		}
	}
	if err := n.Flush(); err != nil {
		return err
	}
	for at := int64(0); at < size; at += int64(len(buf)) {
		b, r := buf[:min(int64(len(buf)), size-at)], back[:min(int64(len(buf)), size-at)]
		pattern(b, off+at, uint64(seed))
		if _, err := n.ReadAt(r, off+at); err != nil {
			return err
		}
		for i := range b {
			if b[i] != r[i] {
				return fmt.Errorf("%s: byte %d is %#02x, %#02x was written", n.Name, off+at+int64(i), r[i], b[i])
			}
		}
	}
	fmt.Fprintf(w, "%s: %d bytes written, flushed, read and compared in %v\n", n.Name, size, (k.Now() - start).Round(time.Millisecond))
	return nil
}

func bench(w io.Writer, k *kern.Kernel, l *disk.Layer, args []string) error {
	if len(args) == 0 {
		return errors.New("which disk?")
	}
	n, err := find(l, args[0])
	if err != nil {
		return err
	}
	limit := time.Second
	if len(args) > 1 {
		ms, err := strconv.Atoi(args[1])
		if err != nil || ms < 1 {
			return fmt.Errorf("%s: not a number of milliseconds", args[1])
		}
		limit = time.Duration(ms) * time.Millisecond
	}
	most := n.Disk().Info().MaxTransfer
	for _, t := range []struct {
		name         string
		size, queued int
		random       bool
	}{
		{"4 KiB random read, 1 at a time", 4096, 1, true},
		{"4 KiB random read, 32 at a time", 4096, 32, true},
		{fmt.Sprintf("%d KiB sequential read", min(1<<20, most)>>10), min(1<<20, most), 4, false},
	} {
		ops, took, err := benchOne(k, l, n, t.size, t.queued, t.random, limit)
		if err != nil {
			return err
		}
		s := took.Seconds()
		fmt.Fprintf(w, "%s: %-32s %9.0f IOPS %9.2f MB/s %8.1f us each\n", n.Name, t.name, float64(ops)/s, float64(ops)*float64(t.size)/s/1e6, s*1e6/float64(ops)*float64(t.queued))
	}
	return nil
}

// benchOne keeps a number of reads under way for a time.
func benchOne(k *kern.Kernel, l *disk.Layer, n *disk.Node, size, queued int, random bool, limit time.Duration) (ops int, took time.Duration, err error) {
	blocks := n.Size / int64(size)
	if blocks == 0 {
		return 0, 0, fmt.Errorf("%s is smaller than %d bytes", n.Name, size)
	}
	k.Start(kern.ThreadAttr{Name: "bench", Priority: kern.Daemon}, func() {
		reply := msgport.NewThread(k, "bench")
		state, next := uint64(1), int64(0)
		send := func(b *disk.Bio) {
			if random {
				state = state*6364136223846793005 + 1442695040888963407
				next = int64(state>>33) % blocks
			} else {
				next = (next + 1) % blocks
			}
			b.Cmd, b.Offset, b.Length = disk.Read, next*int64(size), int64(size)
			n.Send(b)
		}
		start := k.Now()
		busy := 0
		for range queued {
			m, e := l.Buffer(size)
			if e != nil {
				err = e
				break
			}
			b := disk.NewBio(k, reply)
			b.Mem = m
			send(b)
			busy++
		}
		for busy > 0 {
			m := reply.Wait()
			b := m.Data.(*disk.Bio)
			ops++
			if m.Err != nil {
				err = m.Err
			}
			if err == nil && k.Now()-start < limit {
				send(b)
				continue
			}
			l.Release(b.Mem)
			busy--
		}
		took = k.Now() - start
	}).Join()
	return ops, took, err
}

func diskStats(w io.Writer, l *disk.Layer) error {
	for _, d := range l.Disks() {
		s := d.Stats()
		fmt.Fprintf(w, "%-10s reads %d (%d KB) writes %d (%d KB) others %d errors %d under way %d\n", d.Info().Name, s.Reads.Load(), s.BytesRead.Load()>>10,
			s.Writes.Load(), s.BytesWritten.Load()>>10, s.Others.Load(), s.Errors.Load(), d.Pending())
	}
	return nil
}
