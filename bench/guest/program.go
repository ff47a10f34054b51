package main

import (
	"fmt"
	"sync"
)

// tree is garbage for the collector.
type tree struct{ left, right *tree }

func grow(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{grow(depth - 1), grow(depth - 1)}
}

func (t *tree) count() uint64 {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

// goProgram: one operation is what Go programs do: trees that become garbage,
// a map of strings, and goroutines that pass numbers on.
func goProgram(n int) {
	for range n {
		sink += grow(10).count()

		counts := map[string]int{}
		for i := range 500 {
			counts[fmt.Sprintf("key%d", i*7919%251)] += i
		}
		sink += uint64(len(counts))

		c := make(chan int)
		var done sync.WaitGroup
		var mu sync.Mutex
		for range 4 {
			done.Go(func() {
				sum := 0
				for v := range c {
					sum += v
				}
				mu.Lock()
				sink += uint64(sum)
				mu.Unlock()
			})
		}
		for i := range 200 {
			c <- i
		}
		close(c)
		done.Wait()
	}
}
