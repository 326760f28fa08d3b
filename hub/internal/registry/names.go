package registry

// NameSet is some names to look up, in their order; the map is only made where there
// are many.
type NameSet struct {
	few  []string
	many map[string]int
}

// fewNames are found faster by comparing than by hashing.
const fewNames = 8

// NewNameSet makes a set of names; it may keep the slice.
func NewNameSet(names []string) NameSet {
	if len(names) <= fewNames {
		return NameSet{few: names}
	}
	s := NameSet{many: make(map[string]int, len(names))}
	for i, n := range names {
		if _, again := s.many[n]; !again {
			s.many[n] = i
		}
	}
	return s
}

// Empty says whether there are no names.
func (s *NameSet) Empty() bool { return len(s.few)+len(s.many) == 0 }

// Size counts the different names, or all of them where they are few.
func (s *NameSet) Size() int { return len(s.few) + len(s.many) }

// Has says whether a name is in the set.
func (s *NameSet) Has(name string) bool { return s.Index(name) >= 0 }

// Index is the place of a name, -1 if it is not here.
func (s *NameSet) Index(name string) int {
	for i, f := range s.few {
		if f == name {
			return i
		}
	}
	if i, ok := s.many[name]; ok {
		return i
	}
	return -1
}

// among says whether a name is one of the first n.
func (s *NameSet) among(name string, n int) bool {
	i := s.Index(name)
	return i >= 0 && i < n
}
