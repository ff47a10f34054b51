package main

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"dfemu/kernel/kern"
	"dfemu/kernel/shell"
)

// hog takes all memory that can be had, in the ways that there are.
type hog struct {
	k     *kern.Kernel
	mu    sync.Mutex
	dma   []kern.DMA
	bytes [][]byte
}

// Pieces in which memory is taken, in bytes: the largest first, as long as there are such.
const (
	hogMost  = 1 << 20
	hogLeast = 4 << 10
)

// memoryCommands are the shell's commands that use memory up.
func memoryCommands(k *kern.Kernel) []shell.Command {
	h := &hog{k: k}
	return []shell.Command{{Name: "hog", Args: "ask|dma|heap|objects|goroutines|free", Help: "take all memory there is, and keep it; objects may, and goroutines do, end the system", Run: h.run}}
}

func (h *hog) run(w io.Writer, args []string) error {
	if len(args) != 1 {
		return errors.New("ask, dma, heap, objects, goroutines or free")
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
	case "goroutines":
		for {
			go func() { h.mu.Lock() }()
		}
	case "free":
		for _, m := range h.dma {
			h.k.FreeDMA(m)
		}
		h.dma, h.bytes = nil, nil
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
