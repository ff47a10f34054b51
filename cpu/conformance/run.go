package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

// Config says what to run.
type Config struct {
	Seed    uint64
	First   uint64 // number of the first case
	Cases   uint64 // how many cases
	Workers int    // each with a process of its own on the host; at least 1
	// Only restricts the run to mnemonics and CPUID features (as /proc/cpuinfo
	// spells them). It changes what the cases' numbers mean.
	Only []string
	// Mode is x86.Mode64, or x86.Mode32 for compatibility mode.
	Mode x86.Mode
	// Subject makes the processors that are compared with the host's.
	Subject func(cpu.Config) (cpu.Accelerator, error)
	// Mismatch is told of each case that came out different. Calls are not concurrent.
	Mismatch func(*Mismatch)
	// MaxMismatches ends the run early; 0 is no limit.
	MaxMismatches int
}

// Mismatch is a case that came out different.
type Mismatch struct {
	Case      *Case
	Want, Got *Result
	Diffs     []Diff
}

// Report is what a run has covered.
type Report struct {
	Rows, RowsTotal   int // rows of the opcode table run, and those that exist in the mode
	Forms, FormsTotal int // forms run, and those of these rows
	Cases             uint64
	Faults            uint64 // cases in which the instruction raised an exception
	Mismatches        int
	Unstable          int // cases with two different results on the host itself
	Elapsed           time.Duration
	Excluded          map[string]int // rows left out, by reason
	ExcludedForms     map[string]int // forms of other rows left out, by reason
}

// Run compares the host with another processor. It returns an error when the
// host cannot do it, or a processor broke down: differences are in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	start := time.Now()
	host, err := HostFeatures()
	if err != nil {
		return nil, err
	}
	rep := &Report{Excluded: map[string]int{}, ExcludedForms: map[string]int{}}
	rows := selectRows(&cfg, host, rep)
	if len(rows) == 0 {
		return nil, fmt.Errorf("conformance: no instruction of the table is %s", strings.Join(cfg.Only, " or "))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &run{cfg: cfg, rows: rows, rep: rep, cancel: cancel}
	for i := range rows {
		rep.FormsTotal += len(rows[i].forms)
	}
	s.seen = make([]atomic.Bool, rep.FormsTotal)
	var wg sync.WaitGroup
	errs := make([]error, max(cfg.Workers, 1))
	for i := range errs {
		wg.Go(func() {
			if errs[i] = s.worker(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	for i := range rows {
		hit := false
		for j := range rows[i].forms {
			if s.seen[rows[i].forms[j].ID].Load() {
				rep.Forms++
				hit = true
			}
		}
		if hit {
			rep.Rows++
		}
	}
	rep.Cases, rep.Faults = s.done.Load(), s.faults.Load()
	rep.Elapsed = time.Since(start)
	return rep, errors.Join(errs...)
}

// selectRows returns the rows that can be run, and counts those that cannot.
func selectRows(cfg *Config, host x86.FeatureSet, rep *Report) []rowForms {
	return listForms(cfg.Mode, func(e *x86.Enc) bool {
		rep.RowsTotal++
		if !wanted(e, cfg.Only) {
			rep.RowsTotal--
			return false
		}
		if why, ok := excluded[e.Op]; ok {
			rep.Excluded[why]++
			return false
		}
		if !host.Has(e.Feat) {
			rep.Excluded["the host has no "+e.Feat.String()]++
			return false
		}
		return true
	}, rep.ExcludedForms)
}

// wanted reports whether a row is one of those asked for.
func wanted(e *x86.Enc, only []string) bool {
	if len(only) == 0 {
		return true
	}
	for _, o := range only {
		if strings.EqualFold(o, e.Op.String()) || e.Feat != x86.FeatNone && strings.EqualFold(o, e.Feat.String()) {
			return true
		}
	}
	return false
}

// run is a run in progress.
type run struct {
	cfg    Config
	rows   []rowForms
	rep    *Report
	cancel func()
	next   atomic.Uint64 // cases handed out
	done   atomic.Uint64
	faults atomic.Uint64
	seen   []atomic.Bool // by Form.ID
	mu     sync.Mutex    // guards rep and the calls of Mismatch
}

// starter is an executor that can work on a batch while its caller does something else.
type starter interface {
	Start(cases []Case) error
	Finish(results []Result) error
}

// worker runs batches until there are no more.
func (s *run) worker(ctx context.Context) (err error) {
	host, err := NewNative()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	subject, err := NewSoft(s.cfg.Subject)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, subject.Close()) }()
	g := &generator{seed: s.cfg.Seed, rows: s.rows, only: strings.Join(s.cfg.Only, ","), tails: tailRows(s.cfg.Mode)}
	cases := make([]Case, MaxBatch)
	want, got := make([]Result, MaxBatch), make([]Result, MaxBatch)
	for ctx.Err() == nil {
		from := s.next.Add(MaxBatch) - MaxBatch
		if from >= s.cfg.Cases {
			return nil
		}
		n := min(MaxBatch, s.cfg.Cases-from)
		for i := range cases[:n] {
			if err := g.make(s.cfg.First+from+uint64(i), &cases[i]); err != nil {
				return err
			}
			s.seen[cases[i].Form.ID].Store(true)
		}
		if err := s.batch(host, subject, cases[:n], want, got); err != nil {
			return err
		}
	}
	return nil
}

// batch runs a batch on both processors and compares.
func (s *run) batch(host, subject Executor, cases []Case, want, got []Result) error {
	if h, ok := host.(starter); ok {
		if err := h.Start(cases); err != nil {
			return err
		}
		err := subject.Run(cases, got)
		if err2 := h.Finish(want[:len(cases)]); err2 != nil {
			return errors.Join(err, fmt.Errorf("%w (seed %d, cases from %d)", err2, s.cfg.Seed, cases[0].Index))
		}
		if err != nil {
			return err
		}
	} else {
		if err := host.Run(cases, want); err != nil {
			return err
		}
		if err := subject.Run(cases, got); err != nil {
			return err
		}
	}
	for i := range cases {
		c := &cases[i]
		if ownFault(c, &want[i]) {
			s.faults.Add(1)
		}
		diffs := compare(c, &want[i], &got[i])
		if len(diffs) == 0 {
			continue
		}
		if err := s.mismatch(host, c, &want[i], &got[i], diffs); err != nil {
			return err
		}
	}
	s.done.Add(uint64(len(cases)))
	return nil
}

// ownFault reports whether a case ended with an exception of its instruction.
func ownFault(c *Case, r *Result) bool {
	return r.Regs.RIP == c.Regs.RIP && !(c.Step() && r.Fault.Vector == x86.VecDB)
}

// mismatch reports a difference, unless the host disagrees with itself.
func (s *run) mismatch(host Executor, c *Case, want, got *Result, diffs []Diff) error {
	again := make([]Result, 1)
	if err := host.Run([]Case{*c}, again); err != nil {
		return err
	}
	first := *want
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(compare(c, &again[0], &first)) > 0 {
		s.rep.Unstable++
		return nil
	}
	s.rep.Mismatches++
	if s.cfg.Mismatch != nil {
		s.cfg.Mismatch(&Mismatch{c, want, got, diffs})
	}
	if s.cfg.MaxMismatches > 0 && s.rep.Mismatches >= s.cfg.MaxMismatches {
		s.cancel()
	}
	return nil
}
