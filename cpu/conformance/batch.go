package conformance

import (
	"errors"
	"fmt"
	"strings"

	"dfemu/cpu/x86"
)

// starter is an executor that can work on a batch while its caller does something else.
type starter interface {
	Start(cases []Case) error
	Finish(results []Result) error
}

// subject is an executor under test, and its results.
type subject struct {
	name string
	Executor
	got []Result
}

// batch runs batches for one worker.
type batch struct {
	*run
	host     Executor
	want     []Result
	subjects []subject
	masked   []uint64 // by index of rules
}

// selection returns the flags of the command with which a case keeps its number.
func selection(cfg *Config) string {
	s := ""
	if len(cfg.Only) > 0 {
		s = " --only " + strings.Join(cfg.Only, ",")
	}
	if len(cfg.Modes) == 1 {
		s += fmt.Sprintf(" --mode %d", 16<<cfg.Modes[0])
	}
	return s
}

// report adds the worker's counts to the run's.
func (b *batch) report() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, n := range b.masked {
		if n > 0 {
			b.rep.Masked[rules[i].why] += n
		}
	}
}

// do runs a batch on all processors and compares.
func (b *batch) do(cases []Case) error {
	want := b.want[:len(cases)]
	if h, ok := b.host.(starter); ok {
		if err := h.Start(cases); err != nil {
			return err
		}
		err := b.runSubjects(cases)
		if err2 := h.Finish(want); err2 != nil {
			return errors.Join(err, fmt.Errorf("%w (seed %d, cases from %d)", err2, b.cfg.Seed, cases[0].Index))
		}
		if err != nil {
			return err
		}
	} else {
		if err := b.host.Run(cases, want); err != nil {
			return err
		}
		if err := b.runSubjects(cases); err != nil {
			return err
		}
	}
	for i := range cases {
		c := &cases[i]
		if ownFault(c, &want[i]) {
			b.faults.Add(1)
		}
		if c.Tail != 0 {
			b.tails.Add(1)
		}
		for j := range b.subjects {
			if err := b.compare(&b.subjects[j], c, &want[i], &b.subjects[j].got[i]); err != nil {
				return err
			}
		}
	}
	b.done.Add(uint64(len(cases)))
	return nil
}

// runSubjects runs the cases on all subjects.
func (b *batch) runSubjects(cases []Case) error {
	for i := range b.subjects {
		s := &b.subjects[i]
		if err := s.Run(cases, s.got[:len(cases)]); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// ownFault reports whether a case ended with an exception of its instruction.
func ownFault(c *Case, r *Result) bool {
	return r.Regs.RIP == c.Regs.RIP && !(c.Step() && r.Fault.Vector == x86.VecDB)
}

// compare compares the results of a case on the host and on a subject. It
// reports a difference, unless the host disagrees with itself.
func (b *batch) compare(s *subject, c *Case, want, got *Result) error {
	if want.equal(got) {
		return nil
	}
	w := *want // compare changes it, and the next subject needs it
	diffs := compare(c, &w, got, b.masked)
	if len(diffs) == 0 {
		return nil
	}
	again := make([]Result, 1)
	if err := b.host.Run([]Case{*c}, again); err != nil {
		return err
	}
	first := *want
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := compare(c, &again[0], &first, nil); len(d) > 0 {
		b.rep.Unstable[(&Mismatch{Subject: "host", Case: c, Diffs: d}).Summary()]++
		return nil
	}
	b.rep.Mismatches++
	if b.cfg.Mismatch != nil {
		b.cfg.Mismatch(&Mismatch{s.name, c, &w, got, diffs})
	}
	if b.cfg.MaxMismatches > 0 && b.rep.Mismatches >= b.cfg.MaxMismatches {
		b.cancel()
	}
	return nil
}
