// reference: go-control-plane behind the control contract (README.md). One node = one xDS stream.
//
//	-mode A  SnapshotCache(ads=true), one hash for all nodes, sotw.WithOrderedADS
//	-mode B  MuxCache of one LinearCache per type (SotW and delta), sotw.WithOrderedADS
//	-mode C  SnapshotCache(ads=true) keyed by node id; a change sets the same snapshot for every node (Envoy Gateway style)
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/config"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

var ads = &core.ConfigSource{ResourceApiVersion: core.ApiVersion_V3, ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}

func addr(ip string, port int) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: ip, PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)}}}}
}

func mkCluster(i int) types.Resource {
	return &cluster.Cluster{Name: fmt.Sprintf("cluster-%d", i), ConnectTimeout: durationpb.New(time.Second),
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS}, LbPolicy: cluster.Cluster_LEAST_REQUEST,
		EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{EdsConfig: ads}}
}

// the marker of a change: the endpoint's hostname here, an internal-only header in a route config
func marker(rev int) string { return fmt.Sprintf("x-rev-%09d", rev) }

func mkCla(i, n, rev int) types.Resource {
	var eps []*endpoint.LbEndpoint
	for e := 0; e < n; e++ {
		ep := &endpoint.Endpoint{Address: addr(fmt.Sprintf("10.%d.%d.%d", i/250, i%250, e+1), 8080)}
		if e == 0 && rev > 0 {
			ep.Hostname = marker(rev)
		}
		eps = append(eps, &endpoint.LbEndpoint{HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: ep}})
	}
	return &endpoint.ClusterLoadAssignment{ClusterName: fmt.Sprintf("cluster-%d", i), Endpoints: []*endpoint.LocalityLbEndpoints{{
		Locality: &core.Locality{Region: "r1", Zone: "z1"}, LbEndpoints: eps}}}
}

func mkListener(i int) types.Resource {
	m := &hcm.HttpConnectionManager{StatPrefix: "in", RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{RouteConfigName: fmt.Sprintf("route-%d", i), ConfigSource: ads}},
		HttpFilters: []*hcm.HttpFilter{{Name: "envoy.filters.http.router", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: pack(&routerv3.Router{})}}}}
	return &listener.Listener{Name: fmt.Sprintf("listener-%d", i), Address: addr("0.0.0.0", 10000+i), FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
		Name: "envoy.filters.network.http_connection_manager", ConfigType: &listener.Filter_TypedConfig{TypedConfig: pack(m)}}}}}}
}

// one route config: 10 virtual hosts, each one weighted pair; the weight flips with rev
func mkRoute(i, k, rev int) types.Resource {
	rc := &route.RouteConfiguration{Name: fmt.Sprintf("route-%d", i)}
	if rev > 0 {
		rc.InternalOnlyHeaders = []string{marker(rev)}
	}
	for v := 0; v < 10; v++ {
		w := uint32(90)
		if v == 0 && rev%2 == 1 {
			w = 10
		}
		c := (i*10 + v) % k
		rc.VirtualHosts = append(rc.VirtualHosts, &route.VirtualHost{Name: fmt.Sprintf("vh-%d", v), Domains: []string{fmt.Sprintf("h%d-%d.example.com", i, v)}, Routes: []*route.Route{{
			Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
			Action: &route.Route_Route{Route: &route.RouteAction{ClusterSpecifier: &route.RouteAction_WeightedClusters{WeightedClusters: &route.WeightedCluster{Clusters: []*route.WeightedCluster_ClusterWeight{
				{Name: fmt.Sprintf("cluster-%d", c), Weight: wrapperspb.UInt32(w)}, {Name: fmt.Sprintf("cluster-%d", (c+1)%k), Weight: wrapperspb.UInt32(100 - w)}}}}}}}}})
	}
	return rc
}

type hashAll struct{}

func (hashAll) ID(*core.Node) string { return "all" }

type srv struct {
	mode  string
	mu    sync.Mutex
	snapC cache.SnapshotCache
	lin   map[string]*cache.LinearCache
	snap  *cache.Snapshot
	nodes map[string]bool
	k, e  int
	rev   int
}

// now gives a node of mode C the snapshot in force (first request of its stream).
func (s *srv) now(id string) {
	if s.mode != "C" || id == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.nodes[id] && s.snap != nil {
		s.nodes[id] = true
		s.snapC.SetSnapshot(context.Background(), id, s.snap)
	}
}

func (s *srv) publish() {
	switch s.mode {
	case "A":
		s.snapC.SetSnapshot(context.Background(), "all", s.snap)
	case "C":
		for id := range s.nodes {
			s.snapC.SetSnapshot(context.Background(), id, s.snap)
		}
	}
}

type loadReq struct{ Clusters, EndpointsPerCluster, Routes int }

func (s *srv) load(r loadReq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.k, s.e, s.rev = r.Clusters, r.EndpointsPerCluster, 0
	all := map[string][]types.Resource{}
	for i := 0; i < r.Clusters; i++ {
		all[resource.ClusterType] = append(all[resource.ClusterType], mkCluster(i))
		all[resource.EndpointType] = append(all[resource.EndpointType], mkCla(i, r.EndpointsPerCluster, 0))
	}
	for i := 0; i < r.Routes; i++ {
		all[resource.ListenerType] = append(all[resource.ListenerType], mkListener(i))
		all[resource.RouteType] = append(all[resource.RouteType], mkRoute(i, r.Clusters, 0))
	}
	if s.mode == "B" {
		for _, t := range []string{resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.RouteType} {
			up := map[string]types.Resource{}
			for _, x := range all[t] {
				up[cache.GetResourceName(x)] = x
			}
			s.lin[t].UpdateResources(up, nil)
		}
		return
	}
	s.snap, _ = cache.NewSnapshot("v0", all)
	s.publish()
}

func (s *srv) change(kind string, rev int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var typ string
	var res types.Resource
	if kind == "endpoint" {
		typ, res = resource.EndpointType, mkCla(0, s.e, rev)
	} else {
		typ, res = resource.RouteType, mkRoute(0, s.k, rev)
	}
	name := cache.GetResourceName(res)
	if s.mode == "B" {
		s.lin[typ].UpdateResources(map[string]types.Resource{name: res}, nil)
		return
	}
	next := &cache.Snapshot{Resources: s.snap.Resources} // other types are shared with the old snapshot
	i := cache.GetResponseType(typ)
	m := make(map[string]types.ResourceWithTTL, len(s.snap.Resources[i].Items))
	for n, x := range s.snap.Resources[i].Items {
		m[n] = x
	}
	m[name] = types.ResourceWithTTL{Resource: res}
	next.Resources[i] = cache.Resources{Version: fmt.Sprintf("v%d", rev), Items: m}
	s.snap = next
	s.publish()
}

func main() {
	mode := flag.String("mode", "A", "A | B | C")
	xds := flag.String("xds", "127.0.0.1:18100", "ADS address")
	ctl := flag.String("control", "127.0.0.1:18101", "control address")
	flag.Parse()
	s := &srv{mode: *mode, nodes: map[string]bool{}}
	var c cache.Cache
	switch *mode {
	case "A":
		s.snapC = cache.NewSnapshotCache(true, hashAll{}, nil)
		c = s.snapC
	case "C":
		s.snapC = cache.NewSnapshotCache(true, cache.IDHash{}, nil)
		c = s.snapC
	case "B":
		s.lin = map[string]*cache.LinearCache{}
		m := map[string]cache.Cache{}
		for _, t := range []string{resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.RouteType} {
			s.lin[t] = cache.NewLinearCache(t)
			m[t] = s.lin[t]
		}
		c = &cache.MuxCache{Classify: func(r *cache.Request) string { return r.GetTypeUrl() }, ClassifyDelta: func(r *cache.DeltaRequest) string { return r.GetTypeUrl() }, Caches: m}
	default:
		log.Fatal("mode")
	}
	var cb server.Callbacks
	if *mode == "C" {
		cb = server.CallbackFuncs{
			StreamRequestFunc:      func(_ int64, r *discovery.DiscoveryRequest) error { s.now(r.GetNode().GetId()); return nil },
			StreamDeltaRequestFunc: func(_ int64, r *discovery.DeltaDiscoveryRequest) error { s.now(r.GetNode().GetId()); return nil },
		}
	}
	x := server.NewServer(context.Background(), c, cb, sotw.WithOrderedADS(),
		config.DeactivateLegacyWildcardForTypes([]string{resource.EndpointType, resource.RouteType, resource.SecretType}))
	g := grpc.NewServer(grpc.MaxConcurrentStreams(1<<20), grpc.MaxRecvMsgSize(64<<20))
	discovery.RegisterAggregatedDiscoveryServiceServer(g, x)
	lis, err := net.Listen("tcp", *xds)
	if err != nil {
		log.Fatal(err)
	}
	go g.Serve(lis)

	http.HandleFunc("POST /load", func(w http.ResponseWriter, r *http.Request) {
		var q loadReq
		if json.NewDecoder(r.Body).Decode(&q) != nil || q.Clusters < 1 {
			http.Error(w, "bad load", 400)
			return
		}
		s.load(q)
		fmt.Fprintln(w, `{"ok":true}`)
	})
	http.HandleFunc("POST /change", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Kind             string
			Rev, Count, Rate int
		}
		if json.NewDecoder(r.Body).Decode(&q) != nil {
			http.Error(w, "bad change", 400)
			return
		}
		if q.Kind == "burst" {
			// odd = route weight, even = endpoint; paced by the clock, late ones at once; after 1.5 times the planned
			// time the rest is skipped, but never the last one
			t0, applied := time.Now(), 0
			max := time.Duration(q.Count) * 1500 * time.Millisecond / time.Duration(q.Rate)
			for i := 1; i <= q.Count; i++ {
				if time.Since(t0) > max {
					i = q.Count
				}
				time.Sleep(time.Until(t0.Add(time.Duration(i) * time.Second / time.Duration(q.Rate))))
				s.change([]string{"endpoint", "weight"}[i%2], q.Rev+i)
				applied++
			}
			fmt.Fprintf(w, "{\"ok\":true,\"applied\":%d,\"seconds\":%.3f}\n", applied, time.Since(t0).Seconds())
			return
		}
		s.change(q.Kind, q.Rev)
		fmt.Fprintln(w, `{"ok":true}`)
	})
	http.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"pids": []int{os.Getpid()}, "name": "go-control-plane " + *mode})
	})
	log.Printf("go-control-plane mode %s: xds %s control %s", *mode, *xds, *ctl)
	log.Fatal(http.ListenAndServe(*ctl, nil))
}
