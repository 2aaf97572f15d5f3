package main

import (
	"fmt"
	"reflect"
	"strings"

	admregv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	certsv1 "k8s.io/api/certificates/v1"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discov1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	netv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

var (
	scheme = runtime.NewScheme()
	codecs = serializer.NewCodecFactory(scheme)
)

// what a kind can do beside being stored
const (
	namespaced    = 1 << iota
	hasStatus     // a status subresource; a write to the main resource leaves the status alone
	keepStatus    // the status given at creation is kept
	hasGeneration // metadata.generation counts the changes of the spec
	pathName      // names are only path segments, as for RBAC
)

type kindInfo struct {
	plural string
	flags  int
	obj    runtime.Object
	short  []string
}

var groups = []struct {
	gv    schema.GroupVersion
	add   func(*runtime.Scheme) error
	kinds []kindInfo
}{
	{corev1.SchemeGroupVersion, corev1.AddToScheme, []kindInfo{
		{"namespaces", hasStatus | keepStatus, &corev1.Namespace{}, []string{"ns"}},
		{"nodes", hasStatus | keepStatus, &corev1.Node{}, []string{"no"}},
		{"pods", namespaced | hasStatus | hasGeneration, &corev1.Pod{}, []string{"po"}},
		{"events", namespaced, &corev1.Event{}, []string{"ev"}},
		{"configmaps", namespaced, &corev1.ConfigMap{}, []string{"cm"}},
		{"secrets", namespaced, &corev1.Secret{}, nil},
		{"serviceaccounts", namespaced, &corev1.ServiceAccount{}, []string{"sa"}},
		{"services", namespaced | hasStatus, &corev1.Service{}, []string{"svc"}},
		{"endpoints", namespaced, &corev1.Endpoints{}, []string{"ep"}},
		{"persistentvolumes", hasStatus, &corev1.PersistentVolume{}, []string{"pv"}},
		{"persistentvolumeclaims", namespaced | hasStatus, &corev1.PersistentVolumeClaim{}, []string{"pvc"}},
		{"replicationcontrollers", namespaced | hasStatus | hasGeneration, &corev1.ReplicationController{}, []string{"rc"}},
		{"limitranges", namespaced, &corev1.LimitRange{}, nil},
		{"resourcequotas", namespaced | hasStatus, &corev1.ResourceQuota{}, nil},
	}},
	{appsv1.SchemeGroupVersion, appsv1.AddToScheme, []kindInfo{
		{"deployments", namespaced | hasStatus | hasGeneration, &appsv1.Deployment{}, []string{"deploy"}},
		{"daemonsets", namespaced | hasStatus | hasGeneration, &appsv1.DaemonSet{}, []string{"ds"}},
		{"statefulsets", namespaced | hasStatus | hasGeneration, &appsv1.StatefulSet{}, []string{"sts"}},
		{"replicasets", namespaced | hasStatus | hasGeneration, &appsv1.ReplicaSet{}, []string{"rs"}},
		{"controllerrevisions", namespaced, &appsv1.ControllerRevision{}, nil},
	}},
	{batchv1.SchemeGroupVersion, batchv1.AddToScheme, []kindInfo{
		{"jobs", namespaced | hasStatus | hasGeneration, &batchv1.Job{}, nil},
		{"cronjobs", namespaced | hasStatus | hasGeneration, &batchv1.CronJob{}, []string{"cj"}},
	}},
	{coordv1.SchemeGroupVersion, coordv1.AddToScheme, []kindInfo{
		{"leases", namespaced, &coordv1.Lease{}, nil},
	}},
	{discov1.SchemeGroupVersion, discov1.AddToScheme, []kindInfo{
		{"endpointslices", namespaced | hasGeneration, &discov1.EndpointSlice{}, nil},
	}},
	{eventsv1.SchemeGroupVersion, eventsv1.AddToScheme, []kindInfo{
		{"events", namespaced, &corev1.Event{}, []string{"ev"}}, // one store for both, as in kube-apiserver
	}},
	{netv1.SchemeGroupVersion, netv1.AddToScheme, []kindInfo{
		{"networkpolicies", namespaced | hasGeneration, &netv1.NetworkPolicy{}, []string{"netpol"}},
		{"ingresses", namespaced | hasStatus | hasGeneration, &netv1.Ingress{}, []string{"ing"}},
		{"ingressclasses", hasGeneration, &netv1.IngressClass{}, nil},
	}},
	{nodev1.SchemeGroupVersion, nodev1.AddToScheme, []kindInfo{
		{"runtimeclasses", 0, &nodev1.RuntimeClass{}, nil},
	}},
	{policyv1.SchemeGroupVersion, policyv1.AddToScheme, []kindInfo{
		{"poddisruptionbudgets", namespaced | hasStatus | hasGeneration, &policyv1.PodDisruptionBudget{}, []string{"pdb"}},
	}},
	{rbacv1.SchemeGroupVersion, rbacv1.AddToScheme, []kindInfo{
		{"roles", namespaced | pathName, &rbacv1.Role{}, nil},
		{"rolebindings", namespaced | pathName, &rbacv1.RoleBinding{}, nil},
		{"clusterroles", pathName, &rbacv1.ClusterRole{}, nil},
		{"clusterrolebindings", pathName, &rbacv1.ClusterRoleBinding{}, nil},
	}},
	{admregv1.SchemeGroupVersion, admregv1.AddToScheme, []kindInfo{
		{"validatingadmissionpolicies", hasStatus | hasGeneration, &admregv1.ValidatingAdmissionPolicy{}, nil},
		{"validatingadmissionpolicybindings", hasGeneration, &admregv1.ValidatingAdmissionPolicyBinding{}, nil},
		{"mutatingadmissionpolicies", hasGeneration, &admregv1.MutatingAdmissionPolicy{}, nil},
		{"mutatingadmissionpolicybindings", hasGeneration, &admregv1.MutatingAdmissionPolicyBinding{}, nil},
		{"validatingwebhookconfigurations", hasGeneration, &admregv1.ValidatingWebhookConfiguration{}, nil},
		{"mutatingwebhookconfigurations", hasGeneration, &admregv1.MutatingWebhookConfiguration{}, nil},
	}},
	{certsv1.SchemeGroupVersion, certsv1.AddToScheme, []kindInfo{
		{"certificatesigningrequests", hasStatus, &certsv1.CertificateSigningRequest{}, []string{"csr"}},
	}},
	{schedv1.SchemeGroupVersion, schedv1.AddToScheme, []kindInfo{
		{"priorityclasses", hasGeneration, &schedv1.PriorityClass{}, []string{"pc"}},
	}},
	{storagev1.SchemeGroupVersion, storagev1.AddToScheme, []kindInfo{
		{"storageclasses", 0, &storagev1.StorageClass{}, []string{"sc"}},
		{"csidrivers", 0, &storagev1.CSIDriver{}, nil},
		{"csinodes", 0, &storagev1.CSINode{}, nil},
		{"volumeattachments", hasStatus, &storagev1.VolumeAttachment{}, nil},
		{"csistoragecapacities", namespaced, &storagev1.CSIStorageCapacity{}, nil},
	}},
	{authnv1.SchemeGroupVersion, authnv1.AddToScheme, nil},
	{authzv1.SchemeGroupVersion, authzv1.AddToScheme, nil},
}

// The same Go types serve as the version on the wire and as the internal one.
func registerTypes() {
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	for _, g := range groups {
		utilruntime.Must(g.add(scheme))
		utilruntime.Must(scheme.SetVersionPriority(g.gv))
		for kind, t := range scheme.KnownTypes(g.gv) {
			if g.gv == eventsv1.SchemeGroupVersion && strings.HasPrefix(kind, "Event") { // one store for both kinds
				t = map[string]reflect.Type{
					"Event": reflect.TypeFor[corev1.Event](), "EventList": reflect.TypeFor[corev1.EventList](),
				}[kind]
			}
			if strings.HasPrefix(t.PkgPath(), "k8s.io/api/") {
				scheme.AddKnownTypeWithName(
					schema.GroupVersionKind{Group: g.gv.Group, Version: runtime.APIVersionInternal, Kind: kind},
					reflect.New(t).Interface().(runtime.Object),
				)
			}
		}
		for _, k := range g.kinds {
			gvk := g.gv.WithKind(reflect.TypeOf(k.obj).Elem().Name())
			utilruntime.Must(scheme.AddFieldLabelConversionFunc(gvk, func(label, value string) (string, string, error) {
				if g.gv == eventsv1.SchemeGroupVersion {
					label = strings.Replace(label, "regarding.", "involvedObject.", 1)
					label = strings.Replace(label, "reportingController", "reportingComponent", 1)
				}
				_, known := selectable(k.obj.DeepCopyObject())[label]
				if known || label == "metadata.name" || label == "metadata.namespace" {
					return label, value, nil
				}
				return "", "", fmt.Errorf("field label not supported: %s", label)
			}))
		}
	}
}

func registerEvents() {
	toCore := func(e *eventsv1.Event, c *corev1.Event) {
		*c = corev1.Event{
			ObjectMeta: e.ObjectMeta, InvolvedObject: e.Regarding, Reason: e.Reason, Message: e.Note,
			Source: e.DeprecatedSource, FirstTimestamp: e.DeprecatedFirstTimestamp,
			LastTimestamp: e.DeprecatedLastTimestamp, Count: e.DeprecatedCount, Type: e.Type, EventTime: e.EventTime,
			Action: e.Action, Related: e.Related, ReportingController: e.ReportingController,
			ReportingInstance: e.ReportingInstance,
		}
		if e.Series != nil {
			c.Series = &corev1.EventSeries{Count: e.Series.Count, LastObservedTime: e.Series.LastObservedTime}
		}
	}
	toEvents := func(c *corev1.Event, e *eventsv1.Event) {
		*e = eventsv1.Event{
			ObjectMeta: c.ObjectMeta, Regarding: c.InvolvedObject, Reason: c.Reason, Note: c.Message,
			DeprecatedSource: c.Source, DeprecatedFirstTimestamp: c.FirstTimestamp,
			DeprecatedLastTimestamp: c.LastTimestamp, DeprecatedCount: c.Count, Type: c.Type, EventTime: c.EventTime,
			Action: c.Action, Related: c.Related, ReportingController: c.ReportingController,
			ReportingInstance: c.ReportingInstance,
		}
		if c.Series != nil {
			e.Series = &eventsv1.EventSeries{Count: c.Series.Count, LastObservedTime: c.Series.LastObservedTime}
		}
	}
	add := func(from, to any, f conversion.ConversionFunc) {
		utilruntime.Must(scheme.AddConversionFunc(from, to, f))
	}
	add(
		(*eventsv1.Event)(nil),
		(*corev1.Event)(nil),
		func(a, b any, _ conversion.Scope) error { toCore(a.(*eventsv1.Event), b.(*corev1.Event)); return nil },
	)
	add(
		(*corev1.Event)(nil),
		(*eventsv1.Event)(nil),
		func(a, b any, _ conversion.Scope) error { toEvents(a.(*corev1.Event), b.(*eventsv1.Event)); return nil },
	)
	add((*eventsv1.EventList)(nil), (*corev1.EventList)(nil), func(a, b any, _ conversion.Scope) error {
		in, out := a.(*eventsv1.EventList), b.(*corev1.EventList)
		out.ListMeta, out.Items = in.ListMeta, make([]corev1.Event, len(in.Items))
		for i := range in.Items {
			toCore(&in.Items[i], &out.Items[i])
		}
		return nil
	})
	add((*corev1.EventList)(nil), (*eventsv1.EventList)(nil), func(a, b any, _ conversion.Scope) error {
		in, out := a.(*corev1.EventList), b.(*eventsv1.EventList)
		out.ListMeta, out.Items = in.ListMeta, make([]eventsv1.Event, len(in.Items))
		for i := range in.Items {
			toEvents(&in.Items[i], &out.Items[i])
		}
		return nil
	})
}
