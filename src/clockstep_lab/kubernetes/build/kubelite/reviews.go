package main

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// the reviews: requests that are answered and not stored
type review struct {
	kind  runtime.Object
	scope bool
	run   func(ctx context.Context, o runtime.Object) error
}

func (r review) New() runtime.Object   { return r.kind.DeepCopyObject() }
func (r review) Destroy()              {}
func (r review) NamespaceScoped() bool { return r.scope }
func (r review) GetSingularName() string {
	return strings.ToLower(reflect.TypeOf(r.kind).Elem().Name())
}
func (r review) Create(
	ctx context.Context, o runtime.Object, check rest.ValidateObjectFunc, _ *metav1.CreateOptions,
) (runtime.Object, error) {
	if check != nil {
		if err := check(ctx, o.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	return o, r.run(ctx, o)
}

func answer(
	ctx context.Context, a authorizer.Authorizer, u user.Info, res *authzv1.ResourceAttributes,
	non *authzv1.NonResourceAttributes, st *authzv1.SubjectAccessReviewStatus,
) error {
	q := authorizer.AttributesRecord{User: u}
	if res != nil {
		q = authorizer.AttributesRecord{
			User: u, ResourceRequest: true, Verb: res.Verb, Namespace: res.Namespace, APIGroup: res.Group,
			APIVersion: res.Version, Resource: res.Resource, Subresource: res.Subresource, Name: res.Name,
		}
	} else if non != nil {
		q.Verb, q.Path = non.Verb, non.Path
	} else {
		return apierrors.NewBadRequest("exactly one of nonResourceAttributes or resourceAttributes must be specified")
	}
	d, reason, err := a.Authorize(ctx, q)
	st.Allowed, st.Denied, st.Reason = d == authorizer.DecisionAllow, d == authorizer.DecisionDeny, reason
	if err != nil {
		st.EvaluationError = err.Error()
	}
	return nil
}

// what somebody may do
func accessReviews(a authorizer.Authorizer) map[string]rest.Storage {
	ask := func(ctx context.Context, s authzv1.SubjectAccessReviewSpec, st *authzv1.SubjectAccessReviewStatus) error {
		subject := &user.DefaultInfo{Name: s.User, UID: s.UID, Groups: s.Groups}
		return answer(ctx, a, subject, s.ResourceAttributes, s.NonResourceAttributes, st)
	}
	anybody := func(ctx context.Context, o runtime.Object) error {
		r := o.(*authzv1.SubjectAccessReview)
		return ask(ctx, r.Spec, &r.Status)
	}
	local := func(ctx context.Context, o runtime.Object) error {
		r := o.(*authzv1.LocalSubjectAccessReview)
		return ask(ctx, r.Spec, &r.Status)
	}
	oneself := func(ctx context.Context, o runtime.Object) error {
		r := o.(*authzv1.SelfSubjectAccessReview)
		u, _ := genericrequest.UserFrom(ctx)
		return answer(ctx, a, u, r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes, &r.Status)
	}
	return map[string]rest.Storage{
		"subjectaccessreviews":      review{&authzv1.SubjectAccessReview{}, false, anybody},
		"localsubjectaccessreviews": review{&authzv1.LocalSubjectAccessReview{}, true, local},
		"selfsubjectaccessreviews":  review{&authzv1.SelfSubjectAccessReview{}, false, oneself},
	}
}

// who somebody is
func identityReviews(authn authenticator.Request) map[string]rest.Storage {
	oneself := func(ctx context.Context, o runtime.Object) error {
		u, _ := genericrequest.UserFrom(ctx)
		o.(*authnv1.SelfSubjectReview).Status.UserInfo = userInfo(u)
		return nil
	}
	token := func(ctx context.Context, o runtime.Object) error {
		r := o.(*authnv1.TokenReview)
		req := &http.Request{Header: http.Header{"Authorization": {"Bearer " + r.Spec.Token}}}
		resp, ok, err := authn.AuthenticateRequest(req.WithContext(ctx))
		r.Status.Authenticated = ok
		if err != nil {
			r.Status.Error = err.Error()
		} else if ok {
			r.Status.User = userInfo(resp.User)
		}
		return nil
	}
	return map[string]rest.Storage{
		"selfsubjectreviews": review{&authnv1.SelfSubjectReview{}, false, oneself},
		"tokenreviews":       review{&authnv1.TokenReview{}, false, token},
	}
}

func userInfo(u user.Info) authnv1.UserInfo {
	extra := map[string]authnv1.ExtraValue{}
	for k, v := range u.GetExtra() {
		extra[k] = v
	}
	return authnv1.UserInfo{Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: extra}
}
