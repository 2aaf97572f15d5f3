package main

import (
	"context"
	"reflect"

	certsv1 "k8s.io/api/certificates/v1"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

type part int

const (
	whole part = iota
	status
	approval
)

// what happens at a write: to the whole object, to its status, or to the approval of a signing request
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	kindInfo
	part part
}

func member(o runtime.Object, name string) reflect.Value {
	return reflect.ValueOf(o).Elem().FieldByName(name)
}

func (s strategy) has(flag int) bool     { return s.flags&flag != 0 }
func (s strategy) NamespaceScoped() bool { return s.has(namespaced) }
func (s strategy) AllowCreateOnUpdate() bool {
	_, lease := s.obj.(*coordv1.Lease)
	return lease && s.part == whole
}
func (s strategy) AllowUnconditionalUpdate() bool                            { return true }
func (s strategy) Canonicalize(runtime.Object)                               {}
func (s strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
func (s strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

func (s strategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	if !s.has(hasStatus) {
		return nil
	}
	version := ""
	if kinds, _, err := s.ObjectKinds(s.obj); err == nil {
		version = kinds[0].GroupVersion().String()
	}
	reset := fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
	if s.part != whole {
		reset = fieldpath.NewSet(fieldpath.MakePathOrDie("spec"))
	}
	return map[fieldpath.APIVersion]*fieldpath.Set{fieldpath.APIVersion(version): reset}
}

func (s strategy) PrepareForCreate(ctx context.Context, o runtime.Object) {
	if s.has(hasStatus) && !s.has(keepStatus) {
		member(o, "Status").SetZero()
	}
	if s.has(hasGeneration) {
		sure(meta.Accessor(o)).SetGeneration(1)
	}
	switch o := o.(type) {
	case *corev1.Namespace:
		if o.Labels == nil {
			o.Labels = map[string]string{}
		}
		o.Labels[corev1.LabelMetadataName] = o.Name
	case *corev1.Pod:
		o.Status.Phase = corev1.PodPending
	case *certsv1.CertificateSigningRequest:
		if u, ok := genericrequest.UserFrom(ctx); ok {
			o.Spec.Username, o.Spec.UID, o.Spec.Groups = u.GetName(), u.GetUID(), u.GetGroups()
			o.Spec.Extra = map[string]certsv1.ExtraValue{}
			for k, v := range u.GetExtra() {
				o.Spec.Extra[k] = v
			}
		}
	}
}

func sure[T any](v T, err error) T { utilruntime.Must(err); return v }

func (s strategy) PrepareForUpdate(ctx context.Context, o, old runtime.Object) {
	switch s.part {
	case whole:
		if s.has(hasStatus) {
			member(o, "Status").Set(member(old, "Status"))
		}
		if _, csr := o.(*certsv1.CertificateSigningRequest); csr {
			member(o, "Spec").Set(member(old, "Spec"))
		}
		if s.has(hasGeneration) {
			n := sure(meta.Accessor(old)).GetGeneration()
			if spec := member(o, "Spec"); spec.IsValid() && !equality.Semantic.DeepEqual(
				spec.Interface(), member(old, "Spec").Interface(),
			) {
				n++
			}
			sure(meta.Accessor(o)).SetGeneration(n)
		}
	default:
		if spec := member(o, "Spec"); spec.IsValid() {
			spec.Set(member(old, "Spec"))
		}
		sure(meta.Accessor(o)).SetGeneration(sure(meta.Accessor(old)).GetGeneration())
		if csr, ok := o.(*certsv1.CertificateSigningRequest); ok {
			was := old.(*certsv1.CertificateSigningRequest)
			given := csr.Status.Conditions
			if s.part == approval {
				csr.Status = was.Status
			}
			csr.Status.Conditions = nil
			for _, list := range [][]certsv1.CertificateSigningRequestCondition{was.Status.Conditions, given} {
				for _, c := range list {
					decision := c.Type == certsv1.CertificateApproved || c.Type == certsv1.CertificateDenied
					known := false
					for _, have := range csr.Status.Conditions {
						known = known || have.Type == c.Type
					}
					if !known && (decision == (s.part == approval) || contains(was.Status.Conditions, c.Type)) {
						stamp(&c.LastUpdateTime)
						stamp(&c.LastTransitionTime)
						csr.Status.Conditions = append(csr.Status.Conditions, c)
					}
				}
			}
		}
	}
}

func stamp(t *metav1.Time) {
	if t.IsZero() {
		*t = metav1.Now()
	}
}

func contains(list []certsv1.CertificateSigningRequestCondition, kind certsv1.RequestConditionType) bool {
	for _, c := range list {
		if c.Type == kind {
			return true
		}
	}
	return false
}
