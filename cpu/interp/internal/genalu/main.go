// Command genalu writes the handlers of the commonest general-purpose
// instructions, one function for each operation, operand form and size, so
// that the interpreter's inner loop meets no generic code. It is run by go
// generate in cpu/interp.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"slices"
	"strings"
	"text/template"
)

// size is an operand size.
type size struct {
	Bits  int
	Bytes int
	Sext  string // sign-extends r to 64 bits
}

// T is the Go type of an operand.
func (s size) T() string { return fmt.Sprintf("uint%d", s.Bits) }

var sizes = []size{
	{8, 1, "uint64(int8(r))"},
	{16, 2, "uint64(int16(r))"},
	{32, 4, "uint64(int32(r))"},
	{64, 8, "r"},
}

// op is an operation on a and b with result r.
type op struct {
	Name  string
	Expr  string
	Carry string // the carries out of each bit; empty: none (logic)
	Read  bool   // the destination is not written
	CF    bool   // CF is kept
	One   bool   // a single operand; b is a constant
}

const (
	addCarry = "a&b | (a|b)&^r"
	subCarry = "^a&b | (^a|b)&r"
)

// The operations, in the order of the opcodes; then TEST.
var alu = []op{
	{Name: "add", Expr: "a + b", Carry: addCarry},
	{Name: "or", Expr: "a | b"},
	{Name: "adc", Expr: "a + b + T(c.carryIn())", Carry: addCarry},
	{Name: "sbb", Expr: "a - b - T(c.carryIn())", Carry: subCarry},
	{Name: "and", Expr: "a & b"},
	{Name: "sub", Expr: "a - b", Carry: subCarry},
	{Name: "xor", Expr: "a ^ b"},
	{Name: "cmp", Expr: "a - b", Carry: subCarry, Read: true},
	{Name: "test", Expr: "a & b", Read: true},
}

var unary = []op{
	{Name: "inc", Expr: "a + 1", Carry: "a &^ r", CF: true, One: true},
	{Name: "dec", Expr: "a - 1", Carry: "^a & r", CF: true, One: true},
	{Name: "neg", Expr: "-a", Carry: "a | r", One: true},
}

// conds are the conditions in the order of their codes, with the ones that follow from CMP a, b
// and from a result r that has no carries (TEST).
var conds = []struct{ Name, Expr, Cmp, Test string }{
	{"O", "c.of()", "", ""},
	{"NO", "!c.of()", "", ""},
	{"B", "c.cf()", "a < b", ""},
	{"AE", "!c.cf()", "a >= b", ""},
	{"E", "c.fres == 0", "a == b", "r == 0"},
	{"NE", "c.fres != 0", "a != b", "r != 0"},
	{"BE", "c.cf() || c.fres == 0", "a <= b", ""},
	{"A", "!c.cf() && c.fres != 0", "a > b", ""},
	{"S", "c.sf()", "S(r) < 0", "S(r) < 0"},
	{"NS", "!c.sf()", "S(r) >= 0", "S(r) >= 0"},
	{"P", "c.pf()", "", ""},
	{"NP", "!c.pf()", "", ""},
	{"L", "c.less()", "S(a) < S(b)", ""},
	{"GE", "!c.less()", "S(a) >= S(b)", ""},
	{"LE", "c.fres == 0 || c.less()", "S(a) <= S(b)", "S(r) <= 0"},
	{"G", "c.fres != 0 && !c.less()", "S(a) > S(b)", "S(r) > 0"},
}

const common = `
{{define "flags"}}
{{- if .O.Carry}}
	{{- if .O.CF}}
	c.fres, c.fcarry = {{.S.Sext}}, keepCF(c.fcarry, carries{{.S.Bits}}({{.O.Carry}}))
	{{- else}}
	c.fres, c.fcarry = {{.S.Sext}}, carries{{.S.Bits}}({{.O.Carry}})
	{{- end}}
{{- else}}
	c.fres, c.fcarry = {{.S.Sext}}, 0
{{- end}}{{end}}
`

const aluText = `
{{define "alu"}}
func {{.O.Name}}RR{{.S.Bits}}(c *CPU, o *Op) status {
	a, b := getReg[{{.S.T}}](c, o.dst), getReg[{{.S.T}}](c, o.src)
	r := {{.Expr}}
	{{- template "flags" .}}
	{{- if not .O.Read}}
	setReg(c, o.dst, r)
	{{- end}}
	return stNext
}

func {{.O.Name}}RI{{.S.Bits}}(c *CPU, o *Op) status {
	a, b := getReg[{{.S.T}}](c, o.dst), {{.S.T}}(o.imm)
	r := {{.Expr}}
	{{- template "flags" .}}
	{{- if not .O.Read}}
	setReg(c, o.dst, r)
	{{- end}}
	return stNext
}

func {{.O.Name}}RM{{.S.Bits}}(c *CPU, o *Op) status {
	p := c.readable(c.ea(o), {{.S.Bytes}})
	if p == nil {
		return aluRM[{{.S.T}}](c, o)
	}
	a, b := getReg[{{.S.T}}](c, o.dst), hostLoad[{{.S.T}}](p)
	r := {{.Expr}}
	{{- template "flags" .}}
	{{- if not .O.Read}}
	setReg(c, o.dst, r)
	{{- end}}
	return stNext
}

func {{.O.Name}}MR{{.S.Bits}}(c *CPU, o *Op) status {
	p := c.{{.Access}}(c.ea(o), {{.S.Bytes}})
	if p == nil {
		return aluMR[{{.S.T}}](c, o)
	}
	a, b := hostLoad[{{.S.T}}](p), getReg[{{.S.T}}](c, o.src)
	r := {{.Expr}}
	{{- if not .O.Read}}
	hostStore(p, r)
	{{- end}}
	{{- template "flags" .}}
	return stNext
}

func {{.O.Name}}MI{{.S.Bits}}(c *CPU, o *Op) status {
	p := c.{{.Access}}(c.ea(o), {{.S.Bytes}})
	if p == nil {
		return aluMI[{{.S.T}}](c, o)
	}
	a, b := hostLoad[{{.S.T}}](p), {{.S.T}}(o.imm)
	r := {{.Expr}}
	{{- if not .O.Read}}
	hostStore(p, r)
	{{- end}}
	{{- template "flags" .}}
	return stNext
}
{{end}}

{{define "unary"}}
func {{.O.Name}}R{{.S.Bits}}(c *CPU, o *Op) status {
	a := getReg[{{.S.T}}](c, o.dst)
	r := {{.Expr}}
	{{- template "flags" .}}
	setReg(c, o.dst, r)
	return stNext
}

func {{.O.Name}}M{{.S.Bits}}(c *CPU, o *Op) status {
	p := c.writable(c.ea(o), {{.S.Bytes}})
	if p == nil {
		return unaryM[{{.S.T}}](c, o)
	}
	a := hostLoad[{{.S.T}}](p)
	r := {{.Expr}}
	hostStore(p, r)
	{{- template "flags" .}}
	return stNext
}
{{end}}

{{define "mov"}}
func movRR{{.S.Bits}}(c *CPU, o *Op) status {
	setReg(c, o.dst, getReg[{{.S.T}}](c, o.src))
	return stNext
}

func movRI{{.S.Bits}}(c *CPU, o *Op) status {
	setReg(c, o.dst, {{.S.T}}(o.imm))
	return stNext
}

func movRM{{.S.Bits}}(c *CPU, o *Op) status {
	p := c.readable(c.ea(o), {{.S.Bytes}})
	if p == nil {
		return movLoad[{{.S.T}}](c, o)
	}
	setReg(c, o.dst, hostLoad[{{.S.T}}](p))
	return stNext
}

func movMR{{.S.Bits}}(c *CPU, o *Op) status {
	p := c.writable(c.ea(o), {{.S.Bytes}})
	if p == nil {
		return movStore[{{.S.T}}](c, o)
	}
	hostStore(p, getReg[{{.S.T}}](c, o.src))
	return stNext
}

func movMI{{.S.Bits}}(c *CPU, o *Op) status {
	p := c.writable(c.ea(o), {{.S.Bytes}})
	if p == nil {
		return movStoreImm[{{.S.T}}](c, o)
	}
	hostStore(p, {{.S.T}}(o.imm))
	return stNext
}
{{end}}
`

const condText = `
{{define "cond"}}
func cmov{{.Name}}32(c *CPU, o *Op) status {
	v := uint32(c.r[o.dst&31])
	if {{.Expr}} {
		v = uint32(c.r[o.src&31])
	}
	c.r[o.dst&31] = uint64(v)
	return stNext
}

func cmov{{.Name}}64(c *CPU, o *Op) status {
	if {{.Expr}} {
		c.r[o.dst&31] = c.r[o.src&31]
	}
	return stNext
}

func set{{.Name}}(c *CPU, o *Op) status {
	var v uint8
	if {{.Expr}} {
		v = 1
	}
	setReg(c, o.dst, v)
	return stNext
}

func j{{.Name}}64(c *CPU, o *Op) status {
	if {{.Expr}} {
		c.rip = c.r[regRIP] + o.imm
		return stTaken
	}
	return stNext
}

func j{{.Name}}32(c *CPU, o *Op) status {
	if {{.Expr}} {
		c.rip = (c.r[regRIP] + o.imm) & 0xffffffff
		return stTaken
	}
	return stNext
}
{{end}}
`

// forms are the operand forms of the comparisons that are fused with a jump: how a and b
// are found, the general handler, and the sizes.
var forms = []struct {
	Name, Mem, A, B, Slow string
	Cmp, Test             []int // bits
}{
	{"RR", "", "getReg[T](c, o.dst)", "getReg[T](c, o.src)", "", []int{8, 32, 64}, []int{8, 32, 64}},
	{"RI", "", "getReg[T](c, o.dst)", "T(o.imm)", "", []int{8, 16, 32, 64}, []int{8, 32, 64}},
	{"RM", "x", "getReg[T](c, o.dst)", "hostLoad[T](p)", "aluRM", []int{32, 64}, nil},
	{"MR", "x", "hostLoad[T](p)", "getReg[T](c, o.src)", "aluMR", []int{8, 32, 64}, nil},
	{"MI", "x", "hostLoad[T](p)", "T(o.imm)", "aluMI", []int{8, 32, 64}, []int{8, 32}},
}

const fuseText = `
func {{.Name}}(c *CPU, o *Op) status {
	{{- if .Mem}}
	p := c.readable(c.ea(o), {{.S.Bytes}})
	if p == nil {
		if st := {{.Slow}}[{{.S.T}}](c, o); st != stNext {
			return st
		}
		return c.jumpIf(o, {{.Lazy}})
	}
	{{- end}}
	a, b := {{.A}}, {{.B}}
	r := {{.O.Expr}}
	{{- template "flags" .}}
	if {{.Cond}} {
		c.rip = (c.r[regRIP] + o.jump) & c.ipMask
		return stTaken
	}
	return stNext
}
`

// fused writes the handlers of comparisons fused with conditional jumps, and their table.
func fused() {
	t := template.Must(template.Must(tmpl.Clone()).New("fuse").Parse(fuseText))
	var table bytes.Buffer
	table.WriteString("\n// fuseTable has the handlers by Op.fuse and condition code; nil where there is none.\nvar fuseTable = [4 * fuseSize][16]handler{\n")
	for _, f := range forms {
		var b bytes.Buffer
		for _, o := range []op{alu[7], alu[8]} {
			bits, kind := f.Cmp, "fuse"+f.Name
			if o.Name == "test" {
				bits, kind = f.Test, kind+" | fuseTest"
			}
			for i, s := range sizes {
				if !slices.Contains(bits, s.Bits) {
					continue
				}
				fmt.Fprintf(&table, "%s | %d*fuseSize: {", kind, i)
				for cc, c := range conds {
					cond := c.Cmp
					if o.Name == "test" {
						cond = c.Test
					}
					if cond == "" {
						continue
					}
					name := fmt.Sprintf("%s%s%dJ%s", o.Name, f.Name, s.Bits, c.Name)
					fmt.Fprintf(&table, "%d: %s, ", cc, name)
					typed := strings.NewReplacer("T(", s.T()+"(", "[T]", "["+s.T()+"]", "S(", "int"+fmt.Sprint(s.Bits)+"(")
					data := struct {
						O                                 op
						S                                 size
						Name, Mem, Slow, Lazy, A, B, Cond string
					}{o, s, name, f.Mem, f.Slow, c.Expr, typed.Replace(f.A), typed.Replace(f.B), typed.Replace(cond)}
					if err := t.Execute(&b, data); err != nil {
						log.Fatal(err)
					}
				}
				table.WriteString("},\n")
			}
		}
		write("fuse_gen"+strings.ToLower(f.Name)+".go", b.Bytes())
	}
	table.WriteString("}\n")
	write("fuse_gentable.go", table.Bytes())
}

var tmpl = template.Must(template.New("").Parse(common + aluText + condText))

func main() {
	log.SetFlags(0)
	log.SetPrefix("genalu: ")
	for _, s := range sizes {
		var b bytes.Buffer
		for _, o := range alu {
			execute(&b, "alu", o, s)
		}
		for _, o := range unary {
			execute(&b, "unary", o, s)
		}
		execute(&b, "mov", op{}, s)
		write(fmt.Sprintf("integer_gen%d.go", s.Bits), b.Bytes())
	}
	var b bytes.Buffer
	for _, c := range conds {
		if err := tmpl.ExecuteTemplate(&b, "cond", c); err != nil {
			log.Fatal(err)
		}
	}
	write("integer_gencond.go", b.Bytes())
	b.Reset()
	tables(&b)
	write("integer_gentable.go", b.Bytes())
	fused()
}

func execute(b *bytes.Buffer, name string, o op, s size) {
	access := "writable"
	if o.Read {
		access = "readable"
	}
	data := struct {
		O            op
		S            size
		Expr, Access string
	}{o, s, strings.ReplaceAll(o.Expr, "T(", s.T()+"("), access}
	if err := tmpl.ExecuteTemplate(b, name, data); err != nil {
		log.Fatal(err)
	}
}

// tables writes the tables by which compile finds the handlers: by operation and the logarithm of
// the size, or by condition code.
func tables(b *bytes.Buffer) {
	bySize := func(name string) {
		b.WriteString("{")
		for _, s := range sizes {
			fmt.Fprintf(b, "%s%d, ", name, s.Bits)
		}
		b.WriteString("},\n")
	}
	table := func(name, doc string, ops []op, form string) {
		fmt.Fprintf(b, "\n// %s is %s.\nvar %s = [...][4]handler{\n", name, doc, name)
		for _, o := range ops {
			bySize(o.Name + form)
		}
		b.WriteString("}\n")
	}
	table("aluRRTable", "ADD … CMP and TEST of a register and a register", alu, "RR")
	table("aluRITable", "the same of a register and an immediate", alu, "RI")
	table("aluRMTable", "the same of a register and memory", alu, "RM")
	table("aluMRTable", "the same of memory and a register", alu, "MR")
	table("aluMITable", "the same of memory and an immediate", alu, "MI")
	table("unaryRTable", "INC, DEC and NEG of a register", unary, "R")
	table("unaryMTable", "INC, DEC and NEG of memory", unary, "M")
	mov := []op{{Name: "movRR"}, {Name: "movRI"}, {Name: "movRM"}, {Name: "movMR"}, {Name: "movMI"}}
	table("movTable", "MOV, by form", mov, "")
	byCond := func(name, doc, prefix, suffix string) {
		fmt.Fprintf(b, "\n// %s is %s.\nvar %s = [16]handler{\n", name, doc, name)
		for _, c := range conds {
			fmt.Fprintf(b, "%s%s%s, ", prefix, c.Name, suffix)
		}
		b.WriteString("\n}\n")
	}
	byCond("cmov32Table", "CMOVcc of 32-bit registers", "cmov", "32")
	byCond("cmov64Table", "CMOVcc of 64-bit registers", "cmov", "64")
	byCond("setTable", "SETcc of a register", "set", "")
	byCond("jcc64Table", "Jcc in 64-bit mode", "j", "64")
	byCond("jcc32Table", "Jcc in 32-bit mode with flat segments", "j", "32")
}

// write formats the declarations and writes them to a file of package interp.
func write(name string, decls []byte) {
	src := append([]byte("// Code generated by genalu. DO NOT EDIT.\n\npackage interp\n"), decls...)
	out, err := format.Source(src)
	if err != nil {
		log.Fatalf("%s: %v\n%s", name, err, src)
	}
	if err := os.WriteFile(name, out, 0o644); err != nil {
		log.Fatal(err)
	}
}
