package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"dfemu/kernel/kern"
	"dfemu/kernel/shell"
	"dfemu/kernel/subr/disk"
	"dfemu/kernel/subr/disk/exercise"
	"dfemu/kernel/vfs/devfs"
)

// loads are the loads that run in the background.
type loads struct {
	k  *kern.Kernel
	m  *devfs.Mount
	mu sync.Mutex
	by map[string]*background
	n  uint64
	// held are descriptors that are kept open.
	held map[string]*devfs.Handle
}

// Bounds of a load, and what its threads and blocks take of memory, in bytes.
const (
	maxWorkers = 256
	maxBlocks  = 1 << 20
	workerSize = 64 << 10
	blockSize  = 64
)

// background is a load and the descriptor it uses.
type background struct {
	*exercise.Load
	h *devfs.Handle
}

// loadCommands are the shell's commands that load disks in the background.
func loadCommands(k *kern.Kernel, m *devfs.Mount) []shell.Command {
	l := &loads{k: k, m: m, by: map[string]*background{}, held: map[string]*devfs.Handle{}}
	return []shell.Command{
		{Name: "diskload", Args: "start NAME DEV [WORKERS [BLOCKS]]|wait NAME|stop NAME|show", Help: "write and read a disk and check what is read", Run: l.run},
		{Name: "journal", Args: "DEV BLOCKS [ROUNDS]", Help: "write blocks again and again, telling each time all are flushed", Run: l.journal},
		{Name: "hold", Args: "NAME DEV", Help: "open a device, and try it when the same name is held again", Run: l.hold},
	}
}

func (l *loads) run(w io.Writer, args []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(args) > 0 && args[0] == "show" {
		var names []string
		for n := range l.by {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			fmt.Fprintf(w, "load %s: %v\n", n, l.by[n].Result())
		}
		return nil
	}
	if len(args) < 2 {
		return errors.New("what, and which load?")
	}
	name := args[1]
	b := l.by[name]
	switch {
	case args[0] == "start" && len(args) > 2:
		if b != nil {
			return fmt.Errorf("%s runs already", name)
		}
		numbers := [2]int{2, 64} // workers, blocks
		for i, a := range args[3:min(len(args), 5)] {
			n, err := strconv.Atoi(a)
			if most := [2]int{maxWorkers, maxBlocks}[i]; err != nil || n < 1 || n > most {
				return fmt.Errorf("%s: not a number up to %d", a, most)
			}
			numbers[i] = n
		}
		if err := l.k.Room(int64(numbers[0])*workerSize + int64(numbers[1])*blockSize); err != nil {
			return err
		}
		h, err := l.m.Open(args[2])
		if err != nil {
			return err
		}
		l.n++
		o := exercise.Options{
			Workers: numbers[0], Blocks: max(numbers[1], numbers[0]), Seed: l.n,
			Start: func(f func()) {
				l.k.Start(kern.ThreadAttr{Name: "load " + name, Priority: kern.Daemon}, f)
			},
			Gone: func(err error) bool { return errors.Is(err, devfs.ErrGone) || errors.Is(err, disk.ErrGone) },
		}
		if size := h.Dev().Size; int64(o.Blocks)*exercise.BlockSize > size {
			o.Blocks = max(int(size/exercise.BlockSize), o.Workers)
		}
		l.by[name] = &background{exercise.Start(h, o), h}
		return nil
	case b == nil:
		return fmt.Errorf("%s: no such load", name)
	case args[0] == "stop":
		fmt.Fprintf(w, "load %s: %v\n", name, b.Stop())
	case args[0] == "wait":
		fmt.Fprintf(w, "load %s: %v\n", name, b.Wait())
	default:
		return errors.New("start, wait, stop or show")
	}
	delete(l.by, name)
	return b.h.Close()
}

// journal writes all of a number of blocks for the first time, flushes and says so, then for the second time, and so on.
func (l *loads) journal(w io.Writer, args []string) error {
	if len(args) < 2 {
		return errors.New("which device, and how many blocks?")
	}
	blocks, err := strconv.Atoi(args[1])
	if err != nil || blocks < 1 {
		return fmt.Errorf("%s: not a number of blocks", args[1])
	}
	rounds := uint64(1) << 62
	if len(args) > 2 {
		if rounds, err = strconv.ParseUint(args[2], 0, 62); err != nil {
			return err
		}
	}
	h, err := l.m.Open(args[0])
	if err != nil {
		return err
	}
	b := make([]byte, exercise.BlockSize)
	for n := uint64(1); n <= rounds && err == nil; n++ {
		for i := int64(0); i < int64(blocks) && err == nil; i++ {
			exercise.Fill(b, i, n, 0)
			_, err = h.WriteAt(b, i*exercise.BlockSize)
		}
		if err == nil {
			err = h.Sync()
		}
		if err == nil {
			fmt.Fprintf(w, "journal %s: %d flushed\n", args[0], n)
		}
	}
	return errors.Join(err, h.Close())
}

// hold opens a device, or tries what was opened before.
func (l *loads) hold(w io.Writer, args []string) error {
	if len(args) < 1 {
		return errors.New("NAME DEV")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	name := args[0]
	if h := l.held[name]; h != nil {
		delete(l.held, name)
		b := make([]byte, 512)
		if n, ok := h.Dev().Arg.(*disk.Node); ok {
			b = make([]byte, n.Disk().Info().SectorSize)
		}
		_, r := h.ReadAt(b, 0)
		_, s := h.WriteAt(b, 0)
		fmt.Fprintf(w, "held %s, %s: read: %v, write: %v, flush: %v\n", name, h.Dev().Name, r, s, h.Sync())
		return h.Close()
	}
	if len(args) < 2 {
		return fmt.Errorf("%s is not held", name)
	}
	h, err := l.m.Open(args[1])
	if err == nil {
		l.held[name] = h
	}
	return err
}
