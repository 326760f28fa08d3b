package deploy

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

const kubernetes = "../../deploy/kubernetes"

// manifests are what deploy/kubernetes applies, by kind.
type manifests struct {
	ConfigMap struct {
		Metadata named
		Data     map[string]string
	}
	Deployment struct {
		Metadata named
		Spec     struct {
			Selector struct{ MatchLabels map[string]string }
			Template struct {
				Metadata struct{ Labels map[string]string }
				Spec     pod
			}
		}
	}
	Service struct {
		Metadata named
		Spec     struct {
			Selector map[string]string
			Ports    []struct{ Name, TargetPort string }
		}
	}
	Ingress struct {
		Metadata struct{ Annotations map[string]string }
		Spec     struct {
			Rules []struct {
				HTTP struct {
					Paths []struct {
						Backend struct {
							Service struct {
								Name string
								Port named
							}
						}
					}
				}
			}
		}
	}
	NetworkPolicy struct {
		Spec struct {
			PodSelector struct{ MatchLabels map[string]string }
			Ingress     []struct{ Ports []struct{ Port string } }
		}
	}
	PodDisruptionBudget struct {
		Spec struct {
			Selector struct{ MatchLabels map[string]string }
		}
	}
	HorizontalPodAutoscaler struct {
		Spec struct {
			ScaleTargetRef struct{ Kind, Name string }
			Metrics        []struct {
				Pods              struct{ Metric named }
				ContainerResource struct{ Container string }
			}
		}
	}
}

type named struct{ Name string }

type pod struct {
	TerminationGracePeriodSeconds int
	InitContainers, Containers    []podContainer
	Volumes                       []struct {
		Name      string
		ConfigMap named
	}
}

type podContainer struct {
	Name, RestartPolicy string
	Ports               []struct {
		Name          string
		ContainerPort int
	}
	EnvFrom                                     []struct{ SecretRef named }
	VolumeMounts                                []struct{ Name, MountPath, SubPath string }
	StartupProbe, ReadinessProbe, LivenessProbe probe
	Lifecycle                                   struct {
		PreStop struct {
			Exec  struct{ Command []string }
			Sleep struct{ Seconds int }
		}
	}
	Resources       struct{ Limits map[string]string }
	SecurityContext struct {
		RunAsUser              int
		ReadOnlyRootFilesystem bool
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string }
}

func readManifests(t *testing.T) (m manifests) {
	t.Helper()
	var list struct{ Resources []string }
	b, err := os.ReadFile(filepath.Join(kubernetes, "kustomization.yaml"))
	if err != nil || yaml.Unmarshal(b, &list) != nil {
		t.Fatal(err)
	}
	byKind := map[string]any{}
	for _, file := range list.Resources {
		for _, doc := range documents(t, filepath.Join(kubernetes, file)) {
			byKind[doc.(object)["kind"].(string)] = doc
		}
	}
	all, err := json.Marshal(byKind)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(all, &m); err != nil { // which does not tell large letters from small ones in names
		t.Fatal(err)
	}
	return m
}

func (p pod) container(name string) (podContainer, bool) {
	for _, c := range append(slices.Clone(p.InitContainers), p.Containers...) {
		if c.Name == name {
			return c, true
		}
	}
	return podContainer{}, false
}

func (p pod) port(name string) bool {
	return slices.ContainsFunc(append(slices.Clone(p.InitContainers), p.Containers...), func(c podContainer) bool { return c.port(name) > 0 })
}

func (c podContainer) port(name string) int {
	for _, p := range c.Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
}

// Every file is in kustomization.yaml, and the API server of Kubernetes 1.30 would take
// each document in it.
func TestKubernetes_ManifestsAreValid(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(kubernetes, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	list := documents(t, filepath.Join(kubernetes, "kustomization.yaml"))[0].(object)["resources"].([]any)
	checked := 0
	for _, file := range files {
		name := filepath.Base(file)
		if name == "kustomization.yaml" || name == "prometheus-adapter.yaml" { // those of kubectl and of a Helm chart
			continue
		}
		if !slices.Contains(list, any(name)) {
			t.Errorf("kustomization.yaml does not have %s", name)
		}
		for _, doc := range documents(t, file) {
			d := doc.(object)
			apiVersion, _ := d["apiVersion"].(string)
			kind, _ := d["kind"].(string)
			if err := kubernetesSchema(t, apiVersion, kind).Validate(doc); err != nil {
				t.Errorf("%s: %s: %v", name, kind, err)
			}
			checked++
		}
	}
	if checked != 7 || len(list) != 4 {
		t.Errorf("%d documents of %d files", checked, len(list))
	}
}

// The schema check would find a misspelt or misplaced field.
func TestKubernetes_SchemaRefusesMistakes(t *testing.T) {
	s := kubernetesSchema(t, "apps/v1", "Deployment")
	deployment := func(container string) any {
		var doc any
		text := "{apiVersion: apps/v1, kind: Deployment, spec: {selector: {}, template: {spec: {containers: [" + container + "]}}}}"
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		return asJSON(t, doc)
	}
	if err := s.Validate(deployment("{name: a, restartPolicy: Always}")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"{name: a, restartpolicy: Always}", "{name: a, ports: [{containerPort: http}]}", "{image: a}"} {
		if s.Validate(deployment(bad)) == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// What one manifest names is what another one has.
func TestKubernetes_ManifestsFitTogether(t *testing.T) {
	m := readManifests(t)
	p, labels := m.Deployment.Spec.Template.Spec, m.Deployment.Spec.Template.Metadata.Labels
	for what, selector := range map[string]map[string]string{
		"Deployment": m.Deployment.Spec.Selector.MatchLabels, "Service": m.Service.Spec.Selector,
		"NetworkPolicy": m.NetworkPolicy.Spec.PodSelector.MatchLabels, "PodDisruptionBudget": m.PodDisruptionBudget.Spec.Selector.MatchLabels,
	} {
		if len(selector) == 0 {
			t.Errorf("%s selects every pod", what)
		}
		for key, value := range selector {
			if labels[key] != value {
				t.Errorf("%s selects %s=%s, the pods have %v", what, key, value, labels)
			}
		}
	}
	for _, port := range m.Service.Spec.Ports {
		if !p.port(port.TargetPort) {
			t.Errorf("Service: no container has a port %q", port.TargetPort)
		}
	}
	for _, rule := range m.NetworkPolicy.Spec.Ingress {
		for _, port := range rule.Ports {
			if c, _ := p.container("pushcart"); c.port(port.Port) == 0 {
				t.Errorf("NetworkPolicy: pushcart has no port %q", port.Port)
			}
		}
	}
	page, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	secret := p.InitContainers[0].EnvFrom[0].SecretRef.Name
	for _, name := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(m.ConfigMap.Data["pushcart.yaml"], -1) {
		if _, command, _ := strings.Cut(string(page), "kubectl create secret generic "+secret+" "); !strings.Contains(command, "--from-literal="+name[1]+"=") {
			t.Errorf("docs/deploy.md does not put %s into the Secret %s", name[1], secret)
		}
	}
	to := m.Ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service
	if to.Name != m.Service.Metadata.Name || to.Port.Name != m.Service.Spec.Ports[0].Name {
		t.Errorf("Ingress: to %+v, the Service is %+v", to, m.Service)
	}
	scale := m.HorizontalPodAutoscaler.Spec
	if scale.ScaleTargetRef.Kind != "Deployment" || scale.ScaleTargetRef.Name != m.Deployment.Metadata.Name {
		t.Errorf("HorizontalPodAutoscaler: of %+v", scale.ScaleTargetRef)
	}
	if _, ok := p.container(scale.Metrics[1].ContainerResource.Container); !ok {
		t.Errorf("HorizontalPodAutoscaler: no container %q", scale.Metrics[1].ContainerResource.Container)
	}
}

// The order of a pod's end: pushcart's preStop moves the WebSockets away, the app waits
// for that in its own, ends, and then pushcart ends.
func TestKubernetes_PodEndsInOrder(t *testing.T) {
	m := readManifests(t)
	p := m.Deployment.Spec.Template.Spec
	sidecar, app := p.InitContainers[0], p.Containers[0]
	if sidecar.Name != "pushcart" || sidecar.RestartPolicy != "Always" || len(p.InitContainers) != 1 {
		t.Fatalf("pushcart is no native sidecar: %+v", p.InitContainers)
	}
	if got := strings.Join(sidecar.Lifecycle.PreStop.Exec.Command, " "); got != "/pushcart drain" {
		t.Errorf("its preStop is %q", got)
	}
	var config struct {
		Shutdown struct{ Delay, Drain time.Duration }
	}
	if err := yaml.Unmarshal([]byte(m.ConfigMap.Data["pushcart.yaml"]), &config); err != nil {
		t.Fatal(err)
	}
	drain := config.Shutdown.Delay + config.Shutdown.Drain
	wait := time.Duration(app.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	grace := time.Duration(p.TerminationGracePeriodSeconds) * time.Second
	if drain == 0 || wait <= drain || grace < wait+drain {
		t.Errorf("the drain takes %v, the app waits %v, and all are killed after %v", drain, wait, grace)
	}
}

// TestKubernetes_SidecarIsWhatTheBinaryServes runs the sidecar as its manifest says, with
// its configuration, user, root and memory, and does what the kubelet, Prometheus and
// the autoscaler do.
func TestKubernetes_SidecarIsWhatTheBinaryServes(t *testing.T) {
	needs(t, "runc")
	t.Parallel()
	r, i, m := theRelease(t), readDockerfile(t), readManifests(t)
	p := m.Deployment.Spec.Template.Spec
	sidecar := p.InitContainers[0]
	root, folder := t.TempDir(), t.TempDir()
	i.layOut(t, root, r.binary)
	for name, text := range m.ConfigMap.Data {
		// Without waiting; that the times fit is another test's.
		write(t, filepath.Join(folder, name), []byte(strings.NewReplacer("delay: 5s", "delay: 0s", "drain: 20s", "drain: 2s").Replace(text)), 0o644)
	}
	mount := sidecar.VolumeMounts[0]
	if mount.MountPath != i.folder || mount.SubPath != "" || p.Volumes[0].ConfigMap.Name != m.ConfigMap.Metadata.Name || p.Volumes[0].Name != mount.Name {
		t.Errorf("it has %+v of %+v, the image looks into %s", mount, p.Volumes, i.folder)
	}
	d := description{
		name: "kubernetes", root: root, args: append(i.entry, i.cmd...), folder: i.folder, uid: sidecar.SecurityContext.RunAsUser,
		readOnly: sidecar.SecurityContext.ReadOnlyRootFilesystem, memory: mebibytes(t, sidecar.Resources.Limits["memory"]),
		files: 65536, mounts: map[string]string{mount.MountPath: folder},
		env: []string{"WEBHOOK_SECRET=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ADMIN_TOKEN=t0ken"},
	}
	write(t, filepath.Join(root, i.folder, "x"), nil, 0o644) // the folder to mount on
	c := d.start(t)
	c.log.Await(t, "pushcart started")
	if out := c.exec("/pushcart", "check"); out != "pushcart.yaml is good\n" {
		t.Errorf("check: %s", out)
	}
	if c.log.Has("configured queues may exceed") || !c.log.Has(`"memory_limit":"460MiB"`) {
		t.Errorf("memory:\n%s", &c.log)
	}
	get := clientIn(c.network(t))
	status := func(path string, port int) int {
		t.Helper()
		resp, err := get.Get("http://127.0.0.1:" + strconv.Itoa(port) + path)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for what, probe := range map[string]probe{"startup": sidecar.StartupProbe, "readiness": sidecar.ReadinessProbe, "liveness": sidecar.LivenessProbe} {
		if got := status(probe.HTTPGet.Path, sidecar.port(probe.HTTPGet.Port)); got != http.StatusOK {
			t.Errorf("the %s probe gets %d", what, got)
		}
	}
	if got := status("/", sidecar.port("http")); got != http.StatusBadGateway { // of an app that is not there
		t.Errorf("port http: %d", got)
	}
	if out := c.exec("/pushcart", "push", "--all", "x"); !strings.Contains(out, "the broker did not confirm") { // as Redis is not there
		t.Errorf("the push API: %s", out)
	}
	metric := m.HorizontalPodAutoscaler.Spec.Metrics[0].Pods.Metric.Name
	resp, err := get.Get("http://127.0.0.1:" + strconv.Itoa(sidecar.port("pushcart-admin")) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body := readAll(t, resp.Body); !strings.Contains(body, "\n"+metric+" 0\n") {
		t.Errorf("/metrics has no %s", metric)
	}
	if out := c.exec(sidecar.Lifecycle.PreStop.Exec.Command...); out != "drained, 0 connections left\n" {
		t.Errorf("preStop: %s", out)
	}
	if ready, alive := status(sidecar.ReadinessProbe.HTTPGet.Path, 8082), status(sidecar.LivenessProbe.HTTPGet.Path, 8082); ready != 503 || alive != 200 {
		t.Errorf("after it the probes get %d and %d, want 503 and 200", ready, alive)
	}
	c.signal(t, "TERM")
	if err := <-c.done; err != nil {
		t.Error(err)
	}
}

func mebibytes(t *testing.T, quantity string) int64 {
	t.Helper()
	number, ok := strings.CutSuffix(quantity, "Mi")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		t.Fatalf("%q is no number of Mi", quantity)
	}
	return n << 20
}
