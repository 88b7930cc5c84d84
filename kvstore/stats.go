package kvstore

import "maps"

// Reason is why a file found on disk, or an entry, isn't used.
type Reason string

// The reasons.
const (
	Unfinished   Reason = "unfinished"    // a temporary file of a process that ended
	BadHeader    Reason = "bad_header"    // header or description are damaged
	BadName      Reason = "bad_name"      // it was renamed
	BadSize      Reason = "bad_size"      // it was cut short or grew
	BadBody      Reason = "bad_body"      // the content is damaged
	Unreadable   Reason = "unreadable"    // the disk failed to read it, or it vanished
	Rejected     Reason = "rejected"      // the importer found it unusable
	OtherKey     Reason = "other_key"     // encrypted with another key, or not as configured
	OtherVersion Reason = "other_version" // written by a later version
)

// remains is whether a file with this reason is left on disk.
func (r Reason) remains() bool { return r == "" || r == OtherKey || r == OtherVersion }

// Stats are counts since Open.
type Stats struct {
	Hits    [tiers]uint64 // lookups that found something, by where
	Misses  uint64
	Loads   [tiers]uint64 // that succeeded
	Loaded  [tiers]uint64 // bytes
	Gone    uint64        // loads of an entry that was gone
	Puts    uint64        // that were written
	Covered uint64        // that weren't, because an entry covers them
	NoRoom  uint64        // that weren't, because nothing could make room
	Written uint64        // bytes written to disk

	Superseded    uint64 // entries dropped for a longer one
	EvictedMemory uint64 // entries that left memory to make room
	Lost          uint64 // of these, such as weren't on disk yet
	EvictedDisk   uint64 // files removed to make room
	// Discarded counts what isn't used, by reason.
	Discarded map[Reason]uint64
	Errors    uint64 // of the disk
}

func (s *Stats) discarded() uint64 {
	var n uint64
	for _, k := range s.Discarded {
		n += k
	}
	return n
}

// Stats counts what happened since Open.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.stats
	c.Discarded = maps.Clone(c.Discarded)
	return c
}

// TierUsage is what a tier holds.
type TierUsage struct {
	Bytes, Limit int64 // Bytes includes what is being written or removed
	Entries      int   // an entry may be in both; on disk, files of other keys included
}

// Usage is what a store holds.
type Usage struct {
	Memory, Disk TierUsage
	// Unsaved is how much of the memory isn't also on disk.
	Unsaved int64
	// DiskError is why the disk isn't written to any more, or nil.
	DiskError error
}

// Usage is what the store holds now.
func (s *Store) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Usage{
		Memory:    TierUsage{s.memory.used, s.memory.limit, s.memory.lru.Len()},
		Disk:      TierUsage{s.disk.used, s.disk.limit, s.disk.lru.Len()},
		Unsaved:   s.dirty,
		DiskError: s.failed,
	}
}
