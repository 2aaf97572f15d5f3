package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	certsv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// what `kubectl get all` shows
var inAll = []string{
	"pods", "services", "daemonsets", "deployments", "replicasets", "statefulsets", "jobs", "cronjobs",
	"replicationcontrollers",
}

// the stored kinds
type store struct {
	*registry.Store
	short []string
}

func (s *store) ShortNames() []string { return s.short }
func (s *store) Categories() []string {
	if slices.Contains(inAll, s.DefaultQualifiedResource.Resource) {
		return []string{"all"}
	}
	return nil
}

type subresource struct {
	of       *registry.Store
	strategy strategy
}

func (s *subresource) New() runtime.Object { return s.of.New() }
func (s *subresource) Destroy()            {}
func (s *subresource) Get(ctx context.Context, name string, opts *metav1.GetOptions) (runtime.Object, error) {
	return s.of.Get(ctx, name, opts)
}
func (s *subresource) Update(
	ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, _ bool, opts *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return s.of.Update(ctx, name, info, create, update, false, opts)
}
func (s *subresource) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.strategy.GetResetFields()
}
func (s *subresource) ConvertToTable(ctx context.Context, o, opts runtime.Object) (*metav1.Table, error) {
	return s.of.ConvertToTable(ctx, o, opts)
}

func attrs(o runtime.Object) (labels.Set, fields.Set, error) {
	m, err := meta.Accessor(o)
	if err != nil {
		return nil, nil, err
	}
	set := fields.Set{"metadata.name": m.GetName(), "metadata.namespace": m.GetNamespace()}
	for k, v := range selectable(o) {
		set[k] = v
	}
	return m.GetLabels(), set, nil
}

func newStore(gv schema.GroupVersion, k kindInfo, getter generic.RESTOptionsGetter) *registry.Store {
	s := strategy{scheme, names.SimpleNameGenerator, k, whole}
	internal, kind := schema.GroupVersion{
		Group: gv.Group, Version: runtime.APIVersionInternal,
	}, reflect.TypeOf(k.obj).Elem().Name()
	st := &registry.Store{
		NewFunc:     func() runtime.Object { return sure(scheme.New(internal.WithKind(kind))) },
		NewListFunc: func() runtime.Object { return sure(scheme.New(internal.WithKind(kind + "List"))) },
		PredicateFunc: func(l labels.Selector, f fields.Selector) storage.SelectionPredicate {
			return storage.SelectionPredicate{Label: l, Field: f, GetAttrs: attrs}
		},
		DefaultQualifiedResource:  gv.WithResource(k.plural).GroupResource(),
		SingularQualifiedResource: gv.WithResource(strings.ToLower(kind)).GroupResource(),
		CreateStrategy:            s, UpdateStrategy: s, DeleteStrategy: s, ResetFieldsStrategy: s,
		TableConvertor: rest.NewDefaultTableConvertor(gv.WithResource(k.plural).GroupResource()),
	}
	switch k.obj.(type) {
	case *corev1.Pod:
		st.DeleteStrategy, st.ReturnDeletedObject = podStrategy{s}, true
	case *corev1.Event:
		st.DefaultQualifiedResource, st.SingularQualifiedResource = corev1.Resource("events"), corev1.Resource("event")
		st.TTLFunc = func(runtime.Object, uint64, bool) (uint64, error) { return 3600, nil }
	}
	utilruntime.Must(st.CompleteWithOptions(&generic.StoreOptions{RESTOptions: getter, AttrFunc: attrs}))
	return st
}

// the field selectors of a kind, beside the name and the namespace
func selectable(o runtime.Object) fields.Set {
	switch o := o.(type) {
	case *corev1.Pod:
		return fields.Set{
			"spec.nodeName": o.Spec.NodeName, "spec.restartPolicy": string(o.Spec.RestartPolicy),
			"spec.schedulerName": o.Spec.SchedulerName, "spec.serviceAccountName": o.Spec.ServiceAccountName,
			"status.phase": string(o.Status.Phase), "status.podIP": o.Status.PodIP,
		}
	case *corev1.Node:
		return fields.Set{"spec.unschedulable": fmt.Sprint(o.Spec.Unschedulable)}
	case *corev1.Namespace:
		return fields.Set{"status.phase": string(o.Status.Phase)}
	case *corev1.Secret:
		return fields.Set{"type": string(o.Type)}
	case *corev1.Event:
		i := o.InvolvedObject
		return fields.Set{
			"involvedObject.kind": i.Kind, "involvedObject.namespace": i.Namespace, "involvedObject.name": i.Name,
			"involvedObject.uid": string(i.UID), "involvedObject.apiVersion": i.APIVersion, "reason": o.Reason,
			"type": o.Type, "source": o.Source.Component, "reportingComponent": o.ReportingController,
		}
	case *certsv1.CertificateSigningRequest:
		return fields.Set{"spec.signerName": o.Spec.SignerName}
	}
	return nil
}
