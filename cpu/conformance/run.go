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
	// Modes are x86.Mode64 and x86.Mode32, which is compatibility mode; nil
	// is both. They change what the cases' numbers mean.
	Modes []x86.Mode
	// Subjects are what is compared with the host's processor; each runs all cases.
	Subjects []Subject
	// Mismatch is told of each case that came out different. Calls are not concurrent.
	Mismatch func(*Mismatch)
	// MaxMismatches ends the run early; 0 is no limit.
	MaxMismatches int
}

// Subject is an implementation of a processor under test.
type Subject struct {
	Name string // for reports
	// New makes a machine: its processor 0 runs the cases. It has to see
	// memory that Invalidate was called for, and to return from Run soon
	// after a Kick out of a port write.
	New func(cpu.Config) (cpu.Accelerator, error)
}

// Mismatch is a case that came out different.
type Mismatch struct {
	Subject   string
	Case      *Case
	Want, Got *Result
	Diffs     []Diff
}

// Coverage is how much of the opcode table a run has covered in one mode.
type Coverage struct {
	Mode              x86.Mode
	Rows, RowsTotal   int // rows of the opcode table run, and those that exist in the mode
	Forms, FormsTotal int // forms run, and those of these rows
}

// Report is what a run has covered.
type Report struct {
	Coverage   []Coverage
	Subjects   []string
	Cases      uint64 // cases made; each ran on the host and on all subjects
	Faults     uint64 // those in which the instruction raised an exception
	Tails      uint64 // those in which a second instruction tests the flags of the first
	Mismatches int
	// Unstable counts the cases with two different results on the host itself, by what was different.
	Unstable map[string]int
	// Masked counts the cases in which something differed that the manuals
	// leave open, by the reason.
	Masked        map[string]uint64
	Elapsed       time.Duration
	Excluded      map[string]int // rows left out, by reason
	ExcludedForms map[string]int // forms of other rows left out, by reason
}

// Run compares the host with another processor. It returns an error when the
// host cannot do it, or a processor broke down: differences are in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	start := time.Now()
	host, err := HostFeatures()
	if err != nil {
		return nil, err
	}
	if len(cfg.Modes) == 0 {
		cfg.Modes = []x86.Mode{x86.Mode64, x86.Mode32}
	}
	rep := &Report{Excluded: map[string]int{}, ExcludedForms: map[string]int{}, Masked: map[string]uint64{}, Unstable: map[string]int{}}
	for _, s := range cfg.Subjects {
		rep.Subjects = append(rep.Subjects, s.Name)
	}
	for _, m := range cfg.Modes {
		rep.Coverage = append(rep.Coverage, Coverage{Mode: m})
	}
	rows := selectRows(&cfg, host, rep)
	if len(cfg.Subjects) == 0 {
		return nil, errors.New("conformance: there is no subject to compare with the host")
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("conformance: no instruction of the table is %s", strings.Join(cfg.Only, " or "))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &run{cfg: cfg, rows: rows, rep: rep, cancel: cancel}
	total := 0
	for i := range rows {
		total += len(rows[i].forms)
	}
	s.seen = make([]atomic.Bool, total)
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
		cov := rep.coverage(rows[i].mode)
		cov.FormsTotal += len(rows[i].forms)
		for j := range rows[i].forms {
			if s.seen[rows[i].forms[j].ID].Load() {
				cov.Forms++
				hit = true
			}
		}
		if hit {
			cov.Rows++
		}
	}
	rep.Cases, rep.Faults, rep.Tails = s.done.Load(), s.faults.Load(), s.tails.Load()
	rep.Elapsed = time.Since(start)
	return rep, errors.Join(errs...)
}

// selectRows returns the rows that can be run, and counts those that cannot.
func selectRows(cfg *Config, host x86.FeatureSet, rep *Report) []rowForms {
	return listForms(cfg.Modes, func(e *x86.Enc, mode x86.Mode) bool {
		if !wanted(e, cfg.Only) {
			return false
		}
		rep.coverage(mode).RowsTotal++
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

// coverage returns the entry of a mode.
func (r *Report) coverage(mode x86.Mode) *Coverage {
	for i := range r.Coverage {
		if r.Coverage[i].Mode == mode {
			return &r.Coverage[i]
		}
	}
	return &Coverage{}
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
	tails  atomic.Uint64
	seen   []atomic.Bool // by Form.ID
	mu     sync.Mutex    // guards rep and the calls of Mismatch
}

// worker runs batches until there are no more.
func (s *run) worker(ctx context.Context) (err error) {
	host, err := NewNative()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	b := &batch{run: s, host: host, want: make([]Result, MaxBatch), masked: make([]uint64, len(rules))}
	defer b.report()
	for _, sub := range s.cfg.Subjects {
		x, err := NewSoft(sub)
		if err != nil {
			return fmt.Errorf("%s: %w", sub.Name, err)
		}
		defer func() { err = errors.Join(err, x.Close()) }()
		b.subjects = append(b.subjects, subject{sub.Name, x, make([]Result, MaxBatch)})
	}
	g := &generator{seed: s.cfg.Seed, rows: s.rows, only: selection(&s.cfg)}
	for _, m := range s.cfg.Modes {
		g.tails[m] = tailRows(m)
	}
	cases := make([]Case, MaxBatch)
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
		if err := b.do(cases[:n]); err != nil {
			return err
		}
	}
	return nil
}
