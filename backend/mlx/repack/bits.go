package repack

import "encoding/binary"

// Elements travel eight at a time, one in each byte of a uint64, the first in the
// lowest.

var le = binary.LittleEndian

const (
	eachByte = 0x0101010101010101 // times b: b in every byte
	evenByte = 0x00ff00ff00ff00ff
	eachLane = 0x0001000100010001 // times x: x in every 16 bits
)

// pack4 is the low nibbles of eight bytes, side by side.
func pack4(x uint64) uint32 {
	x &= 0x0f * eachByte
	x = (x | x>>4) & evenByte
	x = (x | x>>8) & 0x0000ffff0000ffff
	return uint32(x | x>>16)
}

// pack5 is the low 5 bits of eight bytes, side by side: 40 bits.
func pack5(x uint64) uint64 {
	x = x&(0x001f*eachLane) | x>>3&(0x03e0*eachLane)
	x = x&0x000003ff000003ff | x>>6&0x000ffc00000ffc00
	return x&0xfffff | x>>12&0xfffff00000
}

// put5 writes a group of four times eight elements.
func put5(dst *[5]uint32, a, b, c, d uint64) {
	a, b, c, d = pack5(a), pack5(b), pack5(c), pack5(d)
	dst[0] = uint32(a)
	dst[1] = uint32(a>>32 | b<<8)
	dst[2] = uint32(b>>24 | c<<16)
	dst[3] = uint32(c>>16 | d<<24)
	dst[4] = uint32(d >> 8)
}

// put8 writes eight elements.
func put8(dst *[2]uint32, x uint64) { dst[0], dst[1] = uint32(x), uint32(x>>32) }

// fifthBits moves bit i of the lowest byte to bit 4 of byte i.
func fifthBits(x uint32) uint64 {
	x64 := uint64(x&0xff) * eachByte & 0x8040201008040201 // bit i in byte i
	return (x64 + 0x7f*eachByte) >> 3 & (0x10 * eachByte) // any bit: bit 7
}

// linear gives (m·q + c) / 256 for each byte q, rounded down. Every result must
// lie in 0 to 255.
func linear(q uint64, m, c int32) uint64 {
	mul, add := uint64(int64(m)), uint64(int64(c))*eachLane
	return ((q&evenByte)*mul+add)>>8&evenByte | ((q>>8&evenByte)*mul+add)&^uint64(evenByte)
}
