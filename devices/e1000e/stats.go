package e1000e

// Statistics registers by their index: the offset from 0x4000 in words (section 10.2.7).
// They count up to their last value and are cleared by reading.
const (
	statMPC    = 0x10 / 4
	statPRC64  = 0x5c / 4 // five more follow: 127, 255, 511, 1023, 1522
	statGPRC   = 0x74 / 4
	statBPRC   = 0x78 / 4
	statMPRC   = 0x7c / 4
	statGPTC   = 0x80 / 4
	statGORCL  = 0x88 / 4 // 64 bits
	statGOTCL  = 0x90 / 4 // 64 bits
	statRNBC   = 0xa0 / 4
	statRUC    = 0xa4 / 4
	statROC    = 0xac / 4
	statTORL   = 0xc0 / 4 // 64 bits
	statTOTL   = 0xc8 / 4 // 64 bits
	statTPR    = 0xd0 / 4
	statTPT    = 0xd4 / 4
	statPTC64  = 0xd8 / 4 // five more follow
	statMPTC   = 0xf0 / 4
	statBPTC   = 0xf4 / 4
	statTSCTC  = 0xf8 / 4
	statTSCTFC = 0xfc / 4
	statIAC    = 0x100 / 4
	statCount  = 0x128 / 4
)

type statistics [statCount]uint32

func (s *statistics) add(i int, n uint32) {
	if s[i] += n; s[i] < n {
		s[i] = 1<<32 - 1
	}
}

func (s *statistics) add64(i int, n uint64) {
	v := uint64(s[i+1])<<32 | uint64(s[i])
	if v += n; v < n {
		v = 1<<64 - 1
	}
	s[i], s[i+1] = uint32(v), uint32(v>>32)
}

// read returns a register and clears it; 64-bit ones with their upper half.
func (s *statistics) read(i int) uint32 {
	v := s[i]
	switch i {
	case statGORCL, statGOTCL, statTORL, statTOTL:
		return v
	case statGORCL + 1, statGOTCL + 1, statTORL + 1, statTOTL + 1:
		s[i-1] = 0
	}
	s[i] = 0
	return v
}

// class is the index of the size class of a packet of n bytes with its CRC.
func class(n int) int {
	for i, top := range [...]int{64, 127, 255, 511, 1023} {
		if n <= top {
			return i
		}
	}
	return 5
}

// received counts a good packet of n bytes, without CRC.
func (s *statistics) received(n int, dst []byte) {
	n += 4
	s.add(statTPR, 1)
	s.add64(statTORL, uint64(n))
	s.add(statGPRC, 1)
	s.add64(statGORCL, uint64(n))
	s.add(statPRC64+class(n), 1)
	s.group(dst, statBPRC, statMPRC, 1)
}

// sent counts packets: segments of them with size bytes in all, without CRCs.
func (s *statistics) sent(segments, size int, dst []byte) {
	n := size + 4*segments
	s.add(statTPT, uint32(segments))
	s.add64(statTOTL, uint64(n))
	s.add(statGPTC, uint32(segments))
	s.add64(statGOTCL, uint64(n))
	s.add(statPTC64+class(n/segments), uint32(segments))
	s.group(dst, statBPTC, statMPTC, uint32(segments))
}

func (s *statistics) group(dst []byte, broad, multi int, n uint32) {
	if len(dst) < 6 || dst[0]&1 == 0 {
		return
	}
	if [6]byte(dst) == broadcast {
		s.add(broad, n)
	} else {
		s.add(multi, n)
	}
}

var broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
