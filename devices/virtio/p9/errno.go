package p9

import (
	"errors"
	"fmt"
	"syscall"

	"dfemu/devices"
)

// errno is an error number of Linux, as Rlerror has it.
type errno uint32

// The numbers that the server itself answers with.
const (
	ePERM        errno = 1
	eNOENT       errno = 2
	eINTR        errno = 4
	eIO          errno = 5
	eBADF        errno = 9
	eEXIST       errno = 17
	eNOTDIR      errno = 20
	eISDIR       errno = 21
	eINVAL       errno = 22
	eMFILE       errno = 24
	eROFS        errno = 30
	eNAMETOOLONG errno = 36
	eLOOP        errno = 40
	ePROTO       errno = 71
	eMSGSIZE     errno = 90
	eOPNOTSUPP   errno = 95
)

// number is the answer for an error of the host; 0 for none.
func number(err error) errno {
	if err == nil {
		return 0
	}
	if e := syscall.Errno(0); errors.As(err, &e) && e != 0 {
		return errno(e)
	}
	var own errno
	if errors.As(err, &own) {
		return own
	}
	return eIO
}

// Error implements error.
func (e errno) Error() string { return syscall.Errno(e).Error() }

// status is how a command ended.
func status(e errno) devices.Status {
	if e == 0 {
		return devices.Status{Name: "OK"}
	}
	return devices.Status{Code: uint32(e), Name: fmt.Sprintf("Rlerror: %v", e)}
}
