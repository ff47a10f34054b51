package pc64

import "unsafe"

// srcFunc is the runtime's.
type srcFunc struct {
	datap     unsafe.Pointer
	nameOff   int32
	startLine int32
	funcID    uint8
}

//go:linkname srcFuncName runtime.srcFunc.name
func srcFuncName(srcFunc) string

// name is a function's name as the linker wrote it. The Name of a runtime.Func allocates for instantiations of
// generic functions. The second field of the runtime's _func is the offset of its name.
func (f funcInfo) name() string {
	return srcFuncName(srcFunc{datap: f.datap, nameOff: *(*int32)(unsafe.Add(f.fn, 4))})
}
