package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/platform/pc64"
	"dfemu/kernel/shell"
)

// hog takes all memory that can be had, in the ways that there are.
type hog struct {
	p     *pc64.Platform
	k     *kern.Kernel
	mu    sync.Mutex
	dma   []kern.DMA
	bytes [][]byte

	threads []*kern.Thread
	end     *kern.Event // of the threads
}

// Pieces in which memory is taken, in bytes: the largest first, as long as there are such.
const (
	hogMost  = 1 << 20
	hogLeast = 4 << 10
)

// memoryCommands are the shell's commands that use memory up.
func memoryCommands(k *kern.Kernel, p *pc64.Platform) []shell.Command {
	h := &hog{k: k, p: p}
	return []shell.Command{{Name: "hog", Args: "ask|dma|heap|threads|objects|goroutines|free", Help: "take all memory or threads there are, and keep them; objects may, and goroutines do, end the system", Run: h.run}}
}

func (h *hog) run(w io.Writer, args []string) error {
	if len(args) != 1 {
		return errors.New("ask, dma, heap, threads, objects, goroutines or free")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch args[0] {
	case "ask":
		return h.take(w, "asked for", func(n int) error {
			b, err := h.k.Bytes(n)
			if err == nil {
				h.bytes = append(h.bytes, b)
			}
			return err
		})
	case "dma":
		return h.take(w, "for devices", func(n int) error {
			m, err := h.k.AllocDMA(n, 4096, 0)
			if err == nil {
				h.dma = append(h.dma, m)
			}
			return err
		})
	case "heap":
		return h.panics(w, func() int {
			b := make([]byte, hogMost)
			for i := 0; i < len(b); i += hogLeast {
				b[i] = 1
			}
			h.bytes = append(h.bytes, b)
			return len(b)
		})
	case "objects":
		var list *object
		return h.panics(w, func() int {
			list = &object{next: list, data: [5]int{1}}
			return objectSize
		})
	case "threads":
		h.start(w)
		return nil
	case "goroutines":
		for {
			go func() { h.mu.Lock() }()
		}
	case "free":
		for _, m := range h.dma {
			h.k.FreeDMA(m)
		}
		if h.end != nil {
			h.end.Set()
		}
		for _, t := range h.threads {
			t.Join()
		}
		h.dma, h.bytes, h.threads, h.end = nil, nil, nil, nil
		h.k.GiveBack()
		fmt.Fprintf(w, "hog: there is room for %d KiB\n", h.k.Available()>>10)
		return nil
	}
	return fmt.Errorf("%s: no such way to take memory", args[0])
}

// take takes pieces until even the smallest is refused.
func (h *hog) take(w io.Writer, what string, one func(n int) error) error {
	total, err := 0, error(nil)
	for last := -1; last != total; {
		last = total
		h.k.GiveBack() // or somebody does so later
		for n := hogMost; n >= hogLeast; {
			if err = one(n); err != nil {
				n /= 2
				continue
			}
			total += n
		}
	}
	if !errors.Is(err, kern.ErrNoMemory) {
		return err
	}
	fmt.Fprintf(w, "hog: %d KiB %s, then: %v\n", total>>10, what, err)
	return nil
}

// Of threads that do nothing: what each takes of memory, in bytes, and how long it is waited before it is looked why one has not begun.
const (
	hogThread = 64 << 10
	hogStart  = 100 * time.Millisecond
)

// start starts threads until one does not begin, or there is no memory for it.
func (h *hog) start(w io.Writer) {
	if h.end == nil {
		h.end = h.k.NewEvent()
	}
	end, begun, why := h.end, true, error(nil)
	for begun && why == nil {
		if why = h.k.Room(hogThread); why != nil {
			break
		}
		begin := h.k.NewEvent()
		h.threads = append(h.threads, h.k.Start(kern.ThreadAttr{Name: "hog", Priority: kern.Daemon}, func() {
			begin.Set()
			end.Wait(-1)
		}))
		for begun = begin.Wait(hogStart); !begun && !h.p.Full(); {
			begun = begin.Wait(hogStart)
		}
	}
	if why == nil {
		why = errors.New("one more waits until one ends")
	}
	fmt.Fprintf(w, "hog: %d threads, then: %v\n", len(h.threads), why)
}

// object is one of many small ones, of objectSize bytes.
type object struct {
	next *object
	data [5]int
}

const objectSize = 48

// panics has a kernel thread take memory without asking, until it has a panic.
func (h *hog) panics(w io.Writer, one func() int) error {
	var failed any
	total := 0
	h.k.Start(kern.ThreadAttr{Name: "hog", Priority: kern.Daemon, Expendable: true}, func() {
		defer func() { failed = recover() }()
		for {
			total += one()
		}
	}).Join()
	fmt.Fprintf(w, "hog: %d KiB of the heap, then a panic: %v\n", total>>10, failed)
	return nil
}
