package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Print writes the report as tables, one for each number of processors and
// each kind of row, with medians and ratios. Ratios say how many times faster
// than QEMU's TCG, and how many times slower than the host.
func (rep *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %d cores, Linux %s, %s\n", rep.Host.CPU, rep.Host.Cores, rep.Host.Kernel, rep.Host.Go)
	fmt.Fprintf(w, "kernel %s, %d MiB, medians of %d\n", rep.Kernel, rep.Memory, rep.Rounds)
	if rep.QEMU != "" {
		fmt.Fprintf(w, "%s is %s\n", qemuName, rep.QEMU)
	}
	var cpus []int
	for _, m := range rep.Results {
		if !slices.Contains(cpus, m.CPUs) {
			cpus = append(cpus, m.CPUs)
		}
	}
	slices.Sort(cpus)
	for _, n := range cpus {
		for _, kind := range []struct {
			title string
			rate  bool // more is better
			in    func(row string) bool
		}{
			{"the guest kernel", false, func(row string) bool { return row == rowKernel }},
			{"disks, rates", true, func(row string) bool { return row == rowDisk }},
			{"networks, one TCP connection between guest and host, rates", true, func(row string) bool { return row == rowNet }},
			{rep.linux("boot"), false, func(row string) bool { return row == rowBoot }},
			{"a guest that waits for input", false, func(row string) bool { return row == rowIdle }},
			{rep.linux("work in the guest, time of one operation"), false, func(row string) bool {
				return !slices.Contains([]string{rowKernel, rowDisk, rowNet, rowBoot, rowIdle}, row)
			}},
		} {
			if err := rep.table(w, fmt.Sprintf("%s, %d CPU", kind.title, n), n, kind.rate, kind.in); err != nil {
				return err
			}
		}
	}
	for _, f := range rep.Remarks {
		fmt.Fprintf(w, "\nremark: %s\n", f)
	}
	for _, f := range rep.Failures {
		fmt.Fprintf(w, "\nfailed: %s\n", f)
	}
	return nil
}

// table prints the rows that in picks, which are rates or times.
func (rep *Report) table(w io.Writer, title string, cpus int, rate bool, in func(row string) bool) error {
	var subjects, lines []string
	cell := map[[2]string]Result{}
	for _, m := range rep.Results {
		if m.CPUs != cpus || !in(m.Row) {
			continue
		}
		line := fmt.Sprintf("%s, %s", m.Quantity, m.Unit)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
		if !slices.Contains(subjects, m.Subject) {
			subjects = append(subjects, m.Subject)
		}
		cell[[2]string{line, m.Subject}] = m
	}
	if len(lines) == 0 {
		return nil
	}
	slices.SortStableFunc(subjects, func(a, b string) int { return rank(a) - rank(b) })
	ratios := rep.ratios(subjects)
	if rate {
		for i, r := range ratios {
			ratios[i] = ratio{r.under + "/" + r.over, r.under, r.over}
		}
	}
	fmt.Fprintf(w, "\n%s\n\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s\t%s\t", "", strings.Join(subjects, "\t"))
	for _, r := range ratios {
		fmt.Fprintf(t, "%s\t", r.title)
	}
	fmt.Fprintln(t)
	for _, line := range lines {
		fmt.Fprintf(t, "%s\t", line)
		for _, s := range subjects {
			m, ok := cell[[2]string{line, s}]
			fmt.Fprintf(t, "%s\t", number(m.Median, ok))
		}
		for _, r := range ratios {
			a, okA := cell[[2]string{line, r.over}]
			b, okB := cell[[2]string{line, r.under}]
			ok := okA && okB && b.Median > 0
			v := 0.0
			if ok {
				v = a.Median / b.Median
			}
			fmt.Fprintf(t, "%s\t", number(v, ok))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// ratio is a column that compares two subjects.
type ratio struct{ title, over, under string }

// ratios are the columns that go with subjects.
func (rep *Report) ratios(subjects []string) (rs []ratio) {
	for _, s := range subjects {
		// Only a kernel that unpacks itself is compared with QEMU's.
		if rank(s) == 0 && slices.Contains(subjects, qemuName) && !strings.HasSuffix(s, unpackedSuffix) {
			rs = append(rs, ratio{qemuName + "/" + s, qemuName, s})
		}
		if rank(s) == 0 && slices.Contains(subjects, "native") {
			rs = append(rs, ratio{s + "/native", s, "native"})
		}
	}
	return rs
}

// rank orders subjects: this monitor's accelerators, QEMU, the host.
func rank(subject string) int {
	switch subject {
	case qemuName:
		return 1
	case "native":
		return 2
	}
	return 0
}

// number prints three digits that mean something.
func number(v float64, ok bool) string {
	switch {
	case !ok:
		return "-"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// linux adds to a title that it is of Linux, where there are other guests, too.
func (rep *Report) linux(title string) string {
	if slices.ContainsFunc(rep.Results, func(m Result) bool { return m.Row == rowKernel }) {
		return "Linux, " + title
	}
	return title
}
