package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
)

// A pod that has a node is only marked: its kubelet deletes it, with a grace period of 0.
type podStrategy struct{ strategy }

func (podStrategy) CheckGracefulDelete(_ context.Context, o runtime.Object, opts *metav1.DeleteOptions) bool {
	pod := o.(*corev1.Pod)
	period := int64(0)
	if p := pod.Spec.TerminationGracePeriodSeconds; p != nil {
		period = *p
	}
	if opts.GracePeriodSeconds != nil {
		period = *opts.GracePeriodSeconds
	}
	if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		period = 0
	}
	opts.GracePeriodSeconds = &period
	return true
}

// pods/binding and pods/eviction
type binding struct{ pods *registry.Store }

func (binding) New() runtime.Object { return &corev1.Binding{} }
func (binding) Destroy()            {}
func (b binding) Create(
	ctx context.Context, name string, o runtime.Object, check rest.ValidateObjectFunc, opts *metav1.CreateOptions,
) (runtime.Object, error) {
	bind := o.(*corev1.Binding)
	if check != nil {
		if err := check(ctx, o.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	bare := *b.pods // the pod's spec is fixed for everybody else
	bare.UpdateStrategy = unchecked{b.pods.UpdateStrategy}
	_, _, err := bare.Update(ctx, name, rest.DefaultUpdatedObjectInfo(nil, func(
		_ context.Context, _, old runtime.Object,
	) (runtime.Object, error) {
		pod := old.DeepCopyObject().(*corev1.Pod)
		if pod.Spec.NodeName != "" {
			return nil, apierrors.NewConflict(
				corev1.Resource("pods/binding"),
				name,
				fmt.Errorf("pod %v is already assigned to node %q", name, pod.Spec.NodeName),
			)
		}
		pod.Spec.NodeName = bind.Target.Name
		return pod, nil
	}), nil, nil, false, &metav1.UpdateOptions{DryRun: opts.DryRun})
	return &metav1.Status{Status: metav1.StatusSuccess}, err
}

type unchecked struct{ rest.RESTUpdateStrategy }

func (unchecked) ValidateUpdate(context.Context, runtime.Object, runtime.Object) field.ErrorList {
	return nil
}

type eviction struct{ pods, budgets *registry.Store }

func (eviction) New() runtime.Object { return &policyv1.Eviction{} }
func (eviction) Destroy()            {}
func (eviction) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return policyv1.SchemeGroupVersion.WithKind("Eviction")
}
func (e eviction) Create(
	ctx context.Context, name string, o runtime.Object, check rest.ValidateObjectFunc, opts *metav1.CreateOptions,
) (runtime.Object, error) {
	if check != nil {
		if err := check(ctx, o.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	del := o.(*policyv1.Eviction).DeleteOptions
	if del == nil {
		del = &metav1.DeleteOptions{}
	}
	if len(opts.DryRun) > 0 {
		del.DryRun = opts.DryRun
	}
	got, err := e.pods.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	pod := got.(*corev1.Pod)
	budgets, err := e.budgets.List(ctx, &internalversion.ListOptions{})
	if err != nil {
		return nil, err
	}
	var match []policyv1.PodDisruptionBudget
	for _, b := range budgets.(*policyv1.PodDisruptionBudgetList).Items {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && sel.Matches(labels.Set(pod.Labels)) {
			match = append(match, b)
		}
	}
	idle := []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed, corev1.PodPending}
	free := slices.Contains(idle, pod.Status.Phase) || pod.DeletionTimestamp != nil
	if len(match) > 1 && !free {
		return nil, apierrors.NewInternalError(errors.New(
			"this pod has more than one PodDisruptionBudget, which the eviction subresource does not support",
		))
	}
	if len(match) == 1 && !free {
		if b := match[0]; b.Status.DisruptionsAllowed <= 0 || b.Status.ObservedGeneration < b.Generation {
			refused := apierrors.NewTooManyRequests(
				"Cannot evict pod as it would violate the pod's disruption budget.", 0,
			)
			why := fmt.Sprintf(
				"The disruption budget %s needs %d healthy pods and has %d currently",
				b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy,
			)
			cause := metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: why}
			refused.ErrStatus.Details.Causes = append(refused.ErrStatus.Details.Causes, cause)
			return nil, refused
		}
		if len(del.DryRun) == 0 {
			st := *e.budgets
			st.UpdateStrategy = strategy{
				scheme, names.SimpleNameGenerator,
				kindInfo{flags: namespaced | hasStatus, obj: &policyv1.PodDisruptionBudget{}}, status,
			}
			if _, _, err := st.Update(ctx, match[0].Name, rest.DefaultUpdatedObjectInfo(nil, func(
				_ context.Context, _, old runtime.Object,
			) (runtime.Object, error) {
				b := old.DeepCopyObject().(*policyv1.PodDisruptionBudget)
				b.Status.DisruptionsAllowed--
				if b.Status.DisruptedPods == nil {
					b.Status.DisruptedPods = map[string]metav1.Time{}
				}
				b.Status.DisruptedPods[name] = metav1.Now()
				return b, nil
			}), nil, nil, false, &metav1.UpdateOptions{}); err != nil {
				return nil, err
			}
		}
	}
	if _, _, err := e.pods.Delete(ctx, name, rest.ValidateAllObjectFunc, del); err != nil {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}
