//go:build unix

package cputest

import (
	"fmt"
	"testing"
	"time"

	"dfemu/cpu"
)

// Kicks kicks a processor many times, while it executes, while it is halted,
// and between two runs, and checks that every kick makes Run return once.
func Kicks(t *testing.T, mk Make) {
	const times = 1000
	for _, g := range []struct{ name, code string }{{"running", spin}, {"halted", halted}} {
		t.Run(g.name, func(t *testing.T) {
			r := newRig(t, mk, 1)
			r.tables(Long, nil)
			r.load(codeAddr, g.code)
			r.start(Long)
			v := r.acc.VCPU(0)
			returned := make(chan error)
			r.wg.Go(func() {
				for range times {
					exit, err := v.Run()
					if err == nil && exit.Reason != cpu.ExitKicked {
						err = fmt.Errorf("run returned: %v", exit.Reason)
					}
					returned <- err
				}
			})
			for i := range times {
				v.Kick()
				select {
				case err := <-returned:
					if err != nil {
						t.Fatal(err)
					}
				case <-time.After(timeout):
					t.Errorf("kick %d was lost", i)
					for range times {
						v.Kick()
						<-returned
					}
					return
				}
			}
		})
	}
}
