package perf

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"dfemu/cpu"
)

// counter is one of the numbers of cpu.Stats.
type counter struct {
	name string
	get  func(*cpu.Stats) uint64
}

// counters are what reports tell of cpu.Stats, in this order.
var counters = [...]counter{
	{"instructions", func(s *cpu.Stats) uint64 { return s.Instructions }},
	{"interpreted instead of translated", func(s *cpu.Stats) uint64 { return s.Interpreted }},
	{"blocks decoded or translated", func(s *cpu.Stats) uint64 { return s.Blocks }},
	{"entries into translated code", func(s *cpu.Stats) uint64 { return s.Entries }},
	{"TLB misses", func(s *cpu.Stats) uint64 { return s.TLBMisses }},
	{"invalidations of code", func(s *cpu.Stats) uint64 { return s.Invalidations }},
	{"exits", func(s *cpu.Stats) uint64 { return s.Exits }},
}

// row is a line of a table of functions or blocks.
type row struct {
	name, file string
	addr       uint64
	self, cum  uint64
}

// Text writes the report for people, with the top lines of each table.
func (r *Report) Text(w io.Writer, top int) error {
	b := bufio.NewWriter(w)
	r.summary(b)
	counted := r.Samples - r.Lost
	for _, t := range []struct {
		title string
		user  bool
	}{{"Kernel functions", false}, {"User functions", true}} {
		rows := r.functions(t.user)
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s\n", t.title)
		tw := tabwriter.NewWriter(b, 0, 8, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(tw, "self\twith callees\tsamples\t function\n")
		for _, f := range rows[:min(top, len(rows))] {
			fmt.Fprintf(tw, "%s\t%s\t%d\t %s%s\n", percent(f.self, counted), percent(f.cum, counted), f.self, f.name, f.file)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		rest(b, len(rows), top)
	}
	if rows := r.blocks(); len(rows) > 0 {
		fmt.Fprint(b, "\nBlocks\n")
		tw := tabwriter.NewWriter(b, 0, 8, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(tw, "self\tsamples\taddress\t at\n")
		for _, f := range rows[:min(top, len(rows))] {
			fmt.Fprintf(tw, "%s\t%d\t%x\t %s%s\n", percent(f.self, counted), f.self, f.addr, f.name, f.file)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		rest(b, len(rows), top)
	}
	if err := r.exitTable(b, top); err != nil {
		return err
	}
	if err := r.counterTable(b); err != nil {
		return err
	}
	return b.Flush()
}

// summary says what the report is about.
func (r *Report) summary(w io.Writer) {
	var user, total uint64
	busy := make([]uint64, len(r.Stats))
	for i := range r.stacks {
		s := &r.stacks[i]
		total += s.n
		if s.cpl == 3 {
			user += s.n
		}
		if s.cpu < len(busy) {
			busy[s.cpu] += s.n
		}
	}
	fmt.Fprintf(w, "%.3f s on %s, %d samples, one in %v of each CPU that executes", r.Elapsed.Seconds(), r.Accel, r.Samples, r.Period)
	fmt.Fprintf(w, "\nkernel %s, user %s", percent(total-user, total), percent(user, total))
	for i, n := range busy {
		fmt.Fprintf(w, "; cpu%d sampled %.1f %% of the time", i, 100*float64(n)*r.Period.Seconds()/max(r.Elapsed.Seconds(), 1e-9))
	}
	fmt.Fprintln(w)
	if r.Lost > 0 {
		fmt.Fprintf(w, "%d samples are left out: there were more different stacks than are kept\n", r.Lost)
	}
	switch {
	case r.kernel == nil:
		fmt.Fprintln(w, "no symbols of a kernel")
	case !r.SlideKnown:
		fmt.Fprintf(w, "the kernel of %s was not found in guest memory; its functions have no names\n", r.kernel.base())
	case r.Slide != 0:
		fmt.Fprintf(w, "the kernel was moved by %#x (KASLR); addresses are those of its file\n", r.Slide)
	}
}

// functions returns the functions of one side, the hottest first.
func (r *Report) functions(user bool) []row {
	rows := map[functionKey]*row{}
	for i := range r.stacks {
		s := &r.stacks[i]
		seen := map[functionKey]bool{}
		for j := range s.frames {
			f := &s.frames[j]
			k := functionKey{f.space, f.fn.Name}
			if seen[k] || (f.space >= inUser) != user {
				continue
			}
			seen[k] = true
			e := rows[k]
			if e == nil {
				e = &row{name: f.fn.Name, file: r.file(f)}
				rows[k] = e
			}
			e.cum += s.n
			if j == 0 {
				e.self += s.n
			}
		}
	}
	return sorted(rows)
}

// blocks returns the places at which processors were, the hottest first.
func (r *Report) blocks() []row {
	rows := map[location]*row{}
	for i := range r.stacks {
		s := &r.stacks[i]
		f := &s.frames[0]
		e := rows[f.location]
		if e == nil {
			e = &row{name: f.offset(), file: r.file(f), addr: f.addr}
			rows[f.location] = e
		}
		e.self += s.n
	}
	return sorted(rows)
}

// file names the program of a place, in brackets, where there could be several.
func (r *Report) file(p *resolved) string {
	if p.obj == nil || p.space < inProgram || len(r.progs) < 2 {
		return ""
	}
	return " [" + p.obj.base() + "]"
}

func sorted[K comparable](rows map[K]*row) []row {
	out := make([]row, 0, len(rows))
	for _, e := range rows {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.self, a.self), cmp.Compare(b.cum, a.cum), cmp.Compare(a.name, b.name), cmp.Compare(a.addr, b.addr), cmp.Compare(a.file, b.file))
	})
	return out
}

// exitTable writes the accesses to devices by what answered, and where most came from.
func (r *Report) exitTable(w io.Writer, top int) error {
	type line struct {
		cause Cause
		n     uint64
		from  string
		most  uint64
	}
	type place struct {
		cause Cause
		fn    string
	}
	at := map[place]uint64{}
	lines := map[Cause]*line{}
	total := uint64(0)
	for i := range r.exits {
		e := &r.exits[i]
		total += e.n
		l := lines[e.cause]
		if l == nil {
			l = &line{cause: e.cause}
			lines[e.cause] = l
		}
		l.n += e.n
		p := place{e.cause, e.at.fn.Name}
		if at[p] += e.n; at[p] > l.most {
			l.most, l.from = at[p], p.fn
		}
	}
	if total == 0 {
		return nil
	}
	var all []*line
	for _, l := range lines {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *line) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.cause.String(), b.cause.String()))
	})
	fmt.Fprint(w, "\nExits by cause\n")
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "share\texits\tper second\t cause, and the function most are from\n")
	for _, l := range all[:min(top, len(all))] {
		fmt.Fprintf(tw, "%s\t%d\t%.0f\t %v: %s %s\n", percent(l.n, total), l.n, r.rate(l.n), l.cause, l.from, percent(l.most, l.n))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	rest(w, len(all), top)
	return nil
}

// counterTable writes the counters of each processor and of all.
func (r *Report) counterTable(w io.Writer) error {
	if len(r.Stats) == 0 {
		return nil
	}
	fmt.Fprint(w, "\nCounters\n")
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	for i := range r.Stats {
		fmt.Fprintf(tw, "cpu%d\t", i)
	}
	if len(r.Stats) > 1 {
		fmt.Fprint(tw, "all\t")
	}
	fmt.Fprint(tw, "per second\t\n")
	for _, c := range counters {
		sum := r.total(c)
		if sum == 0 {
			continue // what this accelerator does not count
		}
		for i := range r.Stats {
			fmt.Fprintf(tw, "%d\t", c.get(&r.Stats[i]))
		}
		if len(r.Stats) > 1 {
			fmt.Fprintf(tw, "%d\t", sum)
		}
		fmt.Fprintf(tw, "%.0f\t %s\n", r.rate(sum), c.name)
	}
	return tw.Flush()
}

// total adds a counter up over all processors.
func (r *Report) total(c counter) (n uint64) {
	for i := range r.Stats {
		n += c.get(&r.Stats[i])
	}
	return n
}

func (r *Report) rate(n uint64) float64 { return float64(n) / max(r.Elapsed.Seconds(), 1e-9) }

func rest(w io.Writer, n, top int) {
	if n > top {
		fmt.Fprintf(w, "(%d more)\n", n-top)
	}
}

func percent(n, of uint64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(n)/float64(of))
}
